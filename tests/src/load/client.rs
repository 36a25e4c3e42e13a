//! The drivers: new connections, kept HTTP connections, byte streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::service::STREAM_PROTOCOL;
use super::{Counters, Route};

/// A request that takes longer has failed.
const REQUEST_BOUND: Duration = Duration::from_secs(15);
/// Between two requests of one driver.
const PACE: Duration = Duration::from_millis(10);

/// Opens a connection for each request, so that each is a handshake.
pub async fn new_connections(counters: Arc<Counters>, stop: CancellationToken, route: Route) {
    while paced(&stop).await {
        counters.opened();
        let outcome = async {
            let stream = connect(route.tcp).await?;
            exchange_once(stream).await
        };
        counters.request(route.name, bounded(outcome).await);
    }
}

/// Sends requests over one connection for as long as it lives.
pub async fn kept_connection(counters: Arc<Counters>, stop: CancellationToken, route: Route) {
    while !stop.is_cancelled() {
        counters.opened();
        let outcome = keep_asking(&counters, &stop, &route).await;
        if let Err(error) = outcome {
            counters.dropped(route.name, &format!("http: {error:#}"));
            paced(&stop).await;
        }
    }
}

/// Sends numbers over one byte stream for as long as it lives and expects them back.
pub async fn byte_stream(counters: Arc<Counters>, stop: CancellationToken, route: Route) {
    while !stop.is_cancelled() {
        counters.opened();
        if let Err(error) = keep_counting(&stop, &route).await {
            counters.dropped(route.name, &format!("stream: {error:#}"));
            paced(&stop).await;
        }
    }
}

/// One request over a stream that is closed afterwards.
///
/// # Errors
/// The answer is not that of the service.
pub async fn exchange_once(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<()> {
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let outcome = exchange(&mut sender, "close").await;
    drop(sender);
    connection.abort();
    outcome
}

/// Whether to go on, after a short pause.
async fn paced(stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(PACE) => true,
    }
}

async fn keep_asking(counters: &Counters, stop: &CancellationToken, route: &Route) -> Result<()> {
    let stream = bounded(connect(route.http)).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    while paced(stop).await {
        let outcome = bounded(exchange(&mut sender, "keep-alive")).await;
        let failed = outcome.as_ref().err().map(|error| format!("{error:#}"));
        counters.request(route.name, outcome);
        if let Some(error) = failed {
            connection.abort();
            anyhow::bail!(error);
        }
    }
    connection.abort();
    Ok(())
}

async fn keep_counting(stop: &CancellationToken, route: &Route) -> Result<()> {
    let mut stream = bounded(upgrade(route.tcp)).await?;
    let mut number = 0_u64;
    while paced(stop).await {
        let echo = async {
            stream.write_all(&number.to_be_bytes()).await?;
            Ok(stream.read_u64().await?)
        };
        let echo = bounded(echo).await?;
        ensure!(echo == number, "sent {number}, received {echo}");
        number += 1;
    }
    Ok(())
}

async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(REQUEST_BOUND, work)
        .await
        .with_context(|| format!("not within {REQUEST_BOUND:?}"))?
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context("connect")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[allow(clippy::disallowed_methods, reason = "paths that no cache knows")]
async fn exchange(sender: &mut SendRequest<Empty<Bytes>>, connection: &str) -> Result<()> {
    let path = format!("/{:016x}", fastrand::u64(..));
    let request = Request::get(&path)
        .header("host", "service")
        .header("connection", connection)
        .body(Empty::new())?;
    sender.ready().await.context("the connection is closed")?;
    let response = sender.send_request(request).await.context("no answer")?;
    let status = response.status();
    let body = response.into_body().collect().await.context("no body")?;
    let body = body.to_bytes();
    ensure!(
        status == StatusCode::OK && body == path,
        "answered {status} {:?}",
        String::from_utf8_lossy(&body)
    );
    Ok(())
}

async fn upgrade(address: SocketAddr) -> Result<impl AsyncRead + AsyncWrite + Unpin> {
    let (mut sender, connection) = handshake(TokioIo::new(connect(address).await?)).await?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::get("/stream")
        .header("host", "service")
        .header("connection", "upgrade")
        .header("upgrade", STREAM_PROTOCOL)
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.context("no answer")?;
    ensure!(
        response.status() == StatusCode::SWITCHING_PROTOCOLS,
        "answered {}",
        response.status()
    );
    Ok(TokioIo::new(hyper::upgrade::on(response).await?))
}

#[cfg(test)]
mod tests {
    use super::super::service::Service;
    use super::super::{Load, Route};
    use crate::wait;

    fn straight_to(service: &Service) -> Route {
        Route {
            name: "straight",
            http: service.address(),
            tcp: service.address(),
        }
    }

    #[tokio::test]
    async fn nothing_is_lost_without_a_mesh() {
        let service = Service::start().await.unwrap();
        let load = Load::start(&[straight_to(&service)]);
        let enough = wait::until("a hundred requests", wait::BOUND, async || {
            (load.tally().requests_ok > 100).then_some(())
        });
        enough.await.unwrap();
        let (tally, reasons) = load.stop().await;
        assert!(tally.is_lossless(), "{tally:?} {reasons:?}");
        assert!(tally.connections_opened > 10, "{tally:?}");
    }

    #[tokio::test]
    async fn a_lost_connection_is_counted() {
        let service = Service::start().await.unwrap();
        let front = crate::ports::reserve();
        let listener = tokio::net::TcpListener::bind(front).await.unwrap();
        // Lets the first bytes pass, then hangs up.
        let hang_up = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                drop(client);
            }
        });
        let route = Route {
            name: "broken",
            http: front,
            tcp: front,
        };
        let load = Load::start(&[route]);
        let lost = wait::until("losses", wait::BOUND, async || {
            let tally = load.tally();
            (tally.requests_failed > 0 && tally.connections_dropped > 0).then_some(())
        });
        lost.await.unwrap();
        hang_up.abort();
        let (tally, reasons) = load.stop().await;
        assert!(!tally.is_lossless() && !reasons.is_empty());
        drop(service);
    }
}
