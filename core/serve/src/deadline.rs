//! Honours `grpc-timeout`, on streams as well.
//!
//! tonic's own timeout covers a call only until its response begins, so a stream would outlive
//! its deadline, and ignores a value that it cannot read. Here the body ends too, with the
//! trailers of `DEADLINE_EXCEEDED`. (<https://grpc.io/docs/guides/deadlines/>)

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

/// Ends a call at the deadline that its caller set.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;
    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner }
    }
}

/// A service whose calls end at the deadline that the caller set.
#[derive(Clone, Debug)]
pub struct Deadline<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Deadline<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let begun = Instant::now();
        match timeout_of(request.headers()) {
            Err(MalformedTimeout) => answer(Status::invalid_argument("malformed grpc-timeout")),
            Ok(None) => Box::pin(self.inner.call(request)),
            Ok(Some(Duration::ZERO)) => answer(expired()),
            Ok(Some(timeout)) => {
                let response = self.inner.call(request);
                Box::pin(until(begun + timeout, response))
            }
        }
    }
}

fn answer<E: Send + 'static>(
    status: Status,
) -> Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>> {
    Box::pin(std::future::ready(Ok(status.into_http())))
}

fn expired() -> Status {
    Status::deadline_exceeded("the deadline of the call has passed")
}

async fn until<E>(
    deadline: Instant,
    response: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    match tokio::time::timeout_at(deadline, response).await {
        Err(_) => Ok(expired().into_http()),
        Ok(response) => Ok(response?.map(|body| {
            Body::new(DeadlineBody {
                body: Some(body),
                deadline: Box::pin(sleep_until(deadline)),
            })
        })),
    }
}

/// A body that ends with `DEADLINE_EXCEEDED` when its time has come.
struct DeadlineBody {
    /// `None` once the deadline has passed: dropping it ends the handler's stream.
    body: Option<Body>,
    deadline: Pin<Box<Sleep>>,
}

impl HttpBody for DeadlineBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        // First the deadline: a stream that always has something to say ends as well.
        if this.deadline.as_mut().poll(cx).is_ready() {
            this.body = None;
            let mut trailers = HeaderMap::new();
            let added = expired().add_header(&mut trailers);
            return Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))));
        }
        Pin::new(body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }
}

/// A `grpc-timeout` that is not one to eight digits and a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MalformedTimeout;

/// Reads `grpc-timeout`: `TimeoutValue TimeoutUnit` of the gRPC over HTTP/2 protocol.
fn timeout_of(headers: &HeaderMap) -> Result<Option<Duration>, MalformedTimeout> {
    let mut values = headers.get_all("grpc-timeout").iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => parse(value).map(Some).ok_or(MalformedTimeout),
        (Some(_), Some(_)) => Err(MalformedTimeout),
    }
}

fn parse(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number * 3_600)),
        b'M' => Some(Duration::from_secs(number * 60)),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
