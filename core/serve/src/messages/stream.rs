//! The messages of one stream of a caller.

use std::fmt;

use tonic::body::Body;
use tonic::codec::Decoder;
use tonic::{Request, Status, Streaming};

use super::SharedBody;
use super::budget::{Account, Exhausted};

/// A reader keeps a buffer of at most this many bytes between two messages.
pub const MAX_KEPT_BYTES: usize = 1024;

/// The messages that a caller streams: it may be silent between two of them, and none of them is
/// kept. tonic's own reader keeps a buffer for the longest message that ever came: of a thousand
/// idle streams, each with one message of 256 kB, a quarter of a gigabyte.
pub struct Messages<T> {
    reader: Streaming<T>,
    body: Option<SharedBody>,
    renewed: Box<dyn Fn(SharedBody) -> Streaming<T> + Send>,
}

impl<T> Messages<T> {
    /// The messages of a request, each of at most `max_bytes`, read with what `decoder` makes.
    pub fn of<D>(
        mut request: Request<Streaming<T>>,
        decoder: impl Fn() -> D + Send + 'static,
        max_bytes: usize,
    ) -> Self
    where
        D: Decoder<Item = T, Error = Status> + Send + 'static,
    {
        let renewed =
            move |body| Streaming::new_request(decoder(), Body::new(body), None, Some(max_bytes));
        // A server without our layer has none: then tonic's reader does as it does.
        let body = request.extensions_mut().remove::<SharedBody>();
        let reader = match &body {
            Some(body) => {
                body.lock().stream();
                renewed(body.clone())
            }
            None => request.into_inner(),
        };
        Self {
            reader,
            body,
            renewed: Box::new(renewed),
        }
    }

    /// Another account pays from now on for unfinished messages and for answers.
    ///
    /// # Errors
    /// The bound of that account that they would break.
    pub fn move_to(&self, account: &Account) -> Result<(), Exhausted> {
        self.body
            .as_ref()
            .map_or(Ok(()), |body| body.lock().move_to(account))
    }

    /// The next message; `None` when the caller has no more to say. Cancel safe.
    ///
    /// # Errors
    /// A message that breaks a bound or cannot be read, or a call that was cut: the stream is over.
    pub async fn next(&mut self) -> Result<Option<T>, Status> {
        let message = self.reader.message().await;
        if let Some(body) = &self.body
            && body.lock().longest() > MAX_KEPT_BYTES
        {
            // A body hands on one message at a time: the old reader has nothing left of the next.
            self.reader = (self.renewed)(body.clone());
        }
        message
    }
}

impl<T> fmt::Debug for Messages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}
