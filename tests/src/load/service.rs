//! The service behind the mesh: HTTP/1.1 that echoes, and byte streams that echo.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// The protocol name by which a connection becomes a byte stream.
pub const STREAM_PROTOCOL: &str = "echo";

/// A running service.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    task: AbortHandle,
}

impl Service {
    /// Starts one on loopback.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener)).abort_handle();
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: TcpStream) {
    // Only latency is at stake.
    let _ = stream.set_nodelay(true);
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .with_upgrades();
    // A client may end its connection as it likes; what it misses, it counts itself.
    let _ = connection.await;
}

/// Echoes the path, or turns the connection into a stream.
async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let wants_stream = request.headers().contains_key(http::header::UPGRADE);
    if !wants_stream {
        let path = request.uri().path().to_owned();
        return Ok(Response::new(Full::from(path)));
    }
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(&mut request).await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            // Ends with the client's connection.
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", http::HeaderValue::from_static("upgrade"));
    headers.insert("upgrade", http::HeaderValue::from_static(STREAM_PROTOCOL));
    Ok(response)
}
