//! `/livez`, `/readyz`, `/healthz` and `/metrics` over HTTP/1.1, on loopback.

mod host;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use host::{MAX_HOSTS, parse_host};

use crate::accept::accept_tcp;
use crate::limits::{FIRST_BYTE_DEADLINE, MAX_HEADER_BYTES, OPS_EXCHANGE_DEADLINE};
use crate::places::{Bounds, Holder, Place, Places, Surplus};
use crate::source::Source;
use host::Audience;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Every path, and what it tells.
pub const PATHS: [(&str, &str); 4] = [
    (
        "/livez",
        "200 and `ok` while the process answers. For a liveness probe: a restart mends nothing that \
         this does not see.",
    ),
    (
        "/readyz",
        "200 and `ok` while the daemon can do its job, otherwise 503 and the reasons, one a line; and then a \
         line `degraded: …` for each thing that is not as it should be. For a readiness probe.",
    ),
    (
        "/healthz",
        "The same as `/livez`, for tools that ask by this name.",
    ),
    (
        "/metrics",
        "Every metric, in the OpenMetrics 1.0 text format, which Prometheus reads.",
    ),
];

/// What a daemon tells about itself.
pub trait Ops: Send + Sync + 'static {
    /// Whether it can do its job now; otherwise why not, one reason a line.
    ///
    /// # Errors
    /// The reasons.
    fn ready(&self) -> Result<(), Vec<String>>;
    /// What is not as it should be though the daemon does its job, one thing a line.
    fn degraded(&self) -> Vec<String> {
        Vec::new()
    }
    /// All metrics in the Prometheus (OpenMetrics 1.0) text format.
    fn metrics(&self) -> String;
}

/// Serves until the task is dropped. Only GET and HEAD on the paths of [`PATHS`]; one exchange a
/// connection. Where too many are open, the oldest whose request is not there yet goes first.
/// At most so many: usually [`MAX_OPS_CONNECTIONS`](crate::limits::MAX_OPS_CONNECTIONS).
/// Metrics are told to loopback names and to `hosts`, as [`parse_host`] gives them; a probe of any
/// other name learns in a word whether the daemon is well.
pub async fn serve(
    listener: TcpListener,
    ops: Arc<dyn Ops>,
    connections: usize,
    hosts: Vec<String>,
) {
    serve_within(listener, ops, Limits::of(connections), hosts).await;
}

/// The bounds that tests set lower.
#[derive(Clone, Copy)]
struct Limits {
    head: Duration,
    exchange: Duration,
    requests: usize,
    answers: usize,
}

impl Limits {
    fn of(connections: usize) -> Self {
        let answers = connections / 5;
        Self {
            head: FIRST_BYTE_DEADLINE,
            exchange: OPS_EXCHANGE_DEADLINE,
            requests: connections - answers,
            answers,
        }
    }
}

async fn serve_within(
    listener: TcpListener,
    ops: Arc<dyn Ops>,
    limits: Limits,
    hosts: Vec<String>,
) {
    let hosts: Arc<[String]> = hosts.into();
    let places = |total| {
        Places::new(Bounds {
            total,
            each: total,
            surplus: Surplus::OldestGoes,
        })
    };
    let (requests, answers) = (places(limits.requests), places(limits.answers));
    let mut exchanges = JoinSet::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept_tcp(&listener) => accepted,
            Some(_) = exchanges.join_next() => continue,
        };
        let holder = Holder::Source(Source::of(peer.ip()));
        let stage = Stage(Mutex::new(requests.take(holder.clone())));
        let (ops, answers, hosts) = (Arc::clone(&ops), answers.clone(), Arc::clone(&hosts));
        exchanges.spawn(async move {
            let exchange = exchange(stream, limits.head, |request| {
                // A complete request is not in the way of those that are not.
                stage.enter(&answers, &holder);
                respond(request, ops.as_ref(), &hosts)
            });
            let _ = timeout(limits.exchange, stage.run(exchange)).await;
        });
    }
}

/// The place of an exchange: among the requests that come in, then among the answers.
struct Stage(Mutex<Option<Place>>);

impl Stage {
    fn enter(&self, places: &Places, holder: &Holder) {
        *self.lock() = places.take(holder.clone());
    }

    /// Runs until the end, or until the place is lost.
    async fn run(&self, exchange: impl Future<Output = ()>) {
        let mut exchange = pin!(exchange);
        poll_fn(|cx| {
            // First the exchange: it may take another place.
            if exchange.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let place = self.lock();
            let place = place.as_ref();
            place.map_or(Poll::Ready(()), |place| place.poll_lost(cx))
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(
    stream: TcpStream,
    head: Duration,
    answer: impl Fn(&Request<Incoming>) -> Response<Full<Bytes>>,
) {
    let service = service_fn(|request| {
        let response = answer(&request);
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

fn respond<B>(request: &Request<B>, ops: &dyn Ops, hosts: &[String]) -> Response<Full<Bytes>> {
    let audience = match host::audience(request, hosts) {
        Ok(audience) => audience,
        Err(status) => return reply(status, TEXT, "one Host is needed\n"),
    };
    let path = request.uri().path();
    let is_open = match path {
        "/livez" | "/readyz" | "/healthz" => true,
        "/metrics" => audience != Audience::Other,
        _ => audience == Audience::Loopback,
    };
    if !is_open {
        return reply(StatusCode::MISDIRECTED_REQUEST, TEXT, MISDIRECTED);
    }
    if !PATHS.iter().any(|(known, _)| *known == path) {
        return reply(StatusCode::NOT_FOUND, TEXT, "not found\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refusal.headers_mut().insert(ALLOW, allowed);
        return refusal;
    }
    match path {
        "/livez" | "/healthz" => reply(StatusCode::OK, TEXT, OK),
        "/readyz" => readiness(ops, audience == Audience::Loopback),
        _ => reply(StatusCode::OK, OPEN_METRICS, ops.metrics()),
    }
}

const OK: &str = "ok\n";
const UNREADY: &str = "unready\n";
const MISDIRECTED: &str = "the Host of this is localhost, or for metrics one of telemetry.hosts\n";

/// The reasons may name identities and addresses: they are not for everybody who can ask.
fn readiness(ops: &dyn Ops, is_detailed: bool) -> Response<Full<Bytes>> {
    let (status, word, mut details) = match ops.ready() {
        Ok(()) => (StatusCode::OK, OK, OK.to_owned()),
        Err(reasons) => {
            let lines = reasons.join("\n") + "\n";
            (StatusCode::SERVICE_UNAVAILABLE, UNREADY, lines)
        }
    };
    // The one may be the cause of the other: a wrong clock, of what cannot be signed.
    for what in ops.degraded() {
        details += &format!("degraded: {what}\n");
    }
    match is_detailed {
        true => reply(status, TEXT, details),
        false => reply(status, TEXT, word),
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
