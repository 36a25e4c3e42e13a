//! `GET /status` on the Unix socket of the state directory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_serve::unix::{UnixPeer, UnixSocket, incoming};
use countersign_serve::{Counters, Limits};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

use super::{PATH, Report};

/// Connections open at once.
pub(crate) const MAX_CONNECTIONS: usize = 16;
/// One connection lasts no longer than this.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);

/// Serves until dropped. A caller is the same user, or root.
pub(crate) async fn serve(
    (socket, connections, counters): (UnixSocket, usize, Arc<Counters>),
    report: impl Fn() -> Report + Send + Sync + 'static,
) {
    let own = rustix::process::geteuid().as_raw();
    let admit = move |peer: &UnixPeer| peer.uid == own || peer.uid == 0;
    let limits = Limits {
        max_connections: connections,
        ..Limits::default()
    };
    let connections = incoming(socket, admit, limits, counters);
    let mut connections = std::pin::pin!(connections);
    let report = Arc::new(report);
    while let Some(connection) = connections.next().await {
        let report = Arc::clone(&report);
        let Ok(connection) = connection else {
            continue;
        };
        tokio::spawn(async move {
            let answering = service_fn(move |request| {
                let answer = answer(&request, &*report);
                std::future::ready(Ok::<_, std::convert::Infallible>(answer))
            });
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .serve_connection(TokioIo::new(connection), answering);
            // A caller that breaks off harms nobody but itself.
            let _ = timeout(CONNECTION_DEADLINE, serving).await;
        });
    }
}

fn answer(request: &Request<Incoming>, report: &impl Fn() -> Report) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, PATH) => match serde_json::to_vec(&report()) {
            Ok(body) => (StatusCode::OK, body),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
        },
        (_, PATH) => (StatusCode::METHOD_NOT_ALLOWED, Vec::new()),
        _ => (StatusCode::NOT_FOUND, Vec::new()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
