//! One connection, from its preface to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::body::Body;
use tower::Service as _;

use super::Calls;
use super::turns::paced;
use crate::limits::{
    KEEPALIVE_OF_LOCALS, MAX_HEADER_BYTES, MAX_REFUSED_STREAMS, MAX_RESET_STREAMS,
};
use crate::messages::Intakes;

/// A connection on which calls come.
pub trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Who is at its other end: found in the extensions of every call.
    type Peer: Clone + Send + Sync + 'static;

    /// Who that is.
    fn peer(&self) -> Self::Peer;

    /// What it may hold, from its beginning to its end.
    fn capacity(&self) -> Capacity;

    /// How its peer is asked whether it is still there.
    fn keepalive(&self) -> Keepalive {
        KEEPALIVE_OF_LOCALS
    }
}

/// How a peer is asked whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// A ping is sent after this much silence.
    pub interval: Duration,
    /// A peer that does not answer it in this time is gone.
    pub timeout: Duration,
}

/// What one connection may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Streams open at once; one more is refused.
    pub streams: u32,
    /// Bytes of one stream that its peer may send before they are read.
    pub stream_window: u32,
    /// Bytes of all streams that the peer may send before they are taken in; HTTP/2 begins with 65,535
    /// whatever this says. Half of it is also what HTTP/2 bears of small frames before it gives a
    /// connection up.
    pub connection_window: u32,
    /// Paths, authorities and the like among the fields that its peer has indexed last: HTTP/2 keeps a
    /// frame for each.
    pub indexed_names: u32,
}

/// Serves a connection until its peer has closed it or, after `ending`, its calls are done.
pub(super) async fn serve<C: Connection>(
    connection: C,
    calls: Calls,
    ending: impl Future<Output = ()>,
) {
    let peer = connection.peer();
    let capacity = connection.capacity();
    let keepalive = connection.keepalive();
    let mut protocol = Builder::new(TokioExecutor::new());
    protocol
        .timer(TokioTimer::new())
        .keep_alive_interval(keepalive.interval)
        .keep_alive_timeout(keepalive.timeout)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_REFUSED_STREAMS)
        .max_concurrent_streams(capacity.streams)
        .initial_stream_window_size(capacity.stream_window)
        .initial_connection_window_size(capacity.connection_window);
    // The call is asked for here, in the task that read it, and not in one of its own that runs later.
    let intakes = Intakes::default();
    let of_calls = intakes.clone();
    let service = service_fn(move |mut call: Request<Incoming>| {
        call.extensions_mut().insert(peer.clone());
        call.extensions_mut().insert(of_calls.clone());
        answer(&calls, call)
    });
    let (paced, turns) = paced(connection);
    let mut serving = pin!(protocol.serve_connection(TokioIo::new(paced), service));
    let (mut ending, mut is_ending) = (pin!(ending), false);
    let served = poll_fn(|cx| {
        turns.begin();
        if !is_ending && ending.as_mut().poll(cx).is_ready() {
            is_ending = true;
            serving.as_mut().graceful_shutdown();
        }
        intakes.take_in_after(cx, |cx| serving.as_mut().poll(cx))
    });
    // However it ended, it concerns this connection alone.
    let _ = served.await;
}

/// The routes of tonic and all that stands before them are always ready.
fn answer(
    calls: &Calls,
    call: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
    calls.clone().call(call.map(Body::new))
}
