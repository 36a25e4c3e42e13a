//! Answers whose messages are encoded by whoever makes them.
//!
//! tonic's own encoder keeps the buffer of the longest message of a stream until the stream ends: of a
//! hundred streams of a caller with a thousand identities, each read to its end and idle, half a
//! gigabyte. Here a message is in memory until it has left, and [paid for](super) meanwhile.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::HeaderMap;
use http_body_util::StreamBody;
use hyper::body::Frame;
use tonic::body::Body;
use tonic::{Response, Status};

/// The stream that a generated service hands out: it says nothing, see [`encoded`].
pub type Unsaid<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A body that takes the place of tonic's. Found in the extensions of a response, which are cloned.
#[derive(Clone)]
pub(super) struct Encoded(Arc<Mutex<Option<Body>>>);

/// An answer of these messages, each made by `frame` into what stands in a body: with the prefix of
/// gRPC before it. It needs [our layer](super::MessageBounds), which every server of ours has.
pub fn encoded<T: Send + 'static>(
    messages: impl Stream<Item = Result<T, Status>> + Send + 'static,
    frame: fn(&T) -> Bytes,
) -> Response<Unsaid<T>> {
    let end = stream::once(async {
        let mut trailers = HeaderMap::new();
        Status::ok("").add_header(&mut trailers)?;
        Ok::<_, Status>(Frame::trailers(trailers))
    });
    let frames = messages
        .map(move |it| Ok(Frame::data(frame(&it?))))
        .chain(end);
    let body = Body::new(StreamBody::new(frames));
    let mut response: Response<Unsaid<T>> = Response::new(Box::pin(tokio_stream::empty()));
    let encoded = Encoded(Arc::new(Mutex::new(Some(body))));
    response.extensions_mut().insert(encoded);
    response
}

impl Encoded {
    /// The body, the first time.
    pub(super) fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded").finish_non_exhaustive()
    }
}
