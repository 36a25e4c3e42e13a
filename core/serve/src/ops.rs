//! `/livez`, `/readyz` and `/metrics` over HTTP/1.1, on loopback.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::accept::accept_tcp;
use crate::limits::{
    FIRST_BYTE_DEADLINE, MAX_HEADER_BYTES, MAX_OPS_CONNECTIONS, OPS_EXCHANGE_DEADLINE,
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What a daemon tells about itself.
pub trait Ops: Send + Sync + 'static {
    /// Whether it can do its job now; otherwise why not, one reason a line.
    ///
    /// # Errors
    /// The reasons.
    fn ready(&self) -> Result<(), Vec<String>>;
    /// All metrics in the Prometheus (OpenMetrics 1.0) text format.
    fn metrics(&self) -> String;
}

/// Serves until the task is dropped. Only GET and HEAD on the three paths; one exchange a
/// connection.
pub async fn serve(listener: TcpListener, ops: Arc<dyn Ops>) {
    serve_within(listener, ops, Bounds::default()).await;
}

/// The bounds that tests set lower.
#[derive(Clone, Copy)]
struct Bounds {
    head: Duration,
    exchange: Duration,
    connections: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head: FIRST_BYTE_DEADLINE,
            exchange: OPS_EXCHANGE_DEADLINE,
            connections: MAX_OPS_CONNECTIONS,
        }
    }
}

async fn serve_within(listener: TcpListener, ops: Arc<dyn Ops>, bounds: Bounds) {
    let open = Arc::new(Semaphore::new(bounds.connections));
    let mut exchanges = JoinSet::new();
    loop {
        let stream = tokio::select! {
            (stream, _) = accept_tcp(&listener) => stream,
            Some(_) = exchanges.join_next() => continue,
        };
        let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
            continue; // closed at once
        };
        let ops = Arc::clone(&ops);
        exchanges.spawn(async move {
            let _ = timeout(bounds.exchange, exchange(stream, ops, bounds.head)).await;
            drop(permit);
        });
    }
}

async fn exchange(stream: TcpStream, ops: Arc<dyn Ops>, head: Duration) {
    let service = service_fn(|request| {
        let response = respond(&request, ops.as_ref());
        async { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(MAX_HEADER_BYTES as usize)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "operations exchange broke");
    }
}

fn respond<B>(request: &Request<B>, ops: &dyn Ops) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/livez" | "/readyz" | "/metrics") {
        return reply(StatusCode::NOT_FOUND, TEXT, "not found\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refusal.headers_mut().insert(ALLOW, allowed);
        return refusal;
    }
    match path {
        "/livez" => reply(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => readiness(ops),
        _ => reply(StatusCode::OK, OPEN_METRICS, ops.metrics()),
    }
}

fn readiness(ops: &dyn Ops) -> Response<Full<Bytes>> {
    match ops.ready() {
        Ok(()) => reply(StatusCode::OK, TEXT, "ok\n"),
        Err(reasons) => {
            let lines = reasons.join("\n") + "\n";
            reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, lines)
        }
    }
}

fn reply(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
