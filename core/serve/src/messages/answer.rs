//! The body of an answer, which is paid for until its bytes have left.
//!
//! HTTP/2 lets a caller begin a call and take none of its answer in. hyper takes a frame of an answer
//! before there is room for it, and h2 keeps it until the caller makes room: meanwhile the call may
//! have ended. So a frame carries the place of its call, and what it is charged, with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::budget::{CallAccount, Charge, Exhausted, Payer};
use super::calls::Call;
use crate::limits::{FREE_REPLY_BYTES, LOCAL_FREE_BYTES};

/// The answer of one call.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    account: CallAccount,
    /// A frame that is no longer is not charged.
    free: usize,
    call: Arc<Call>,
    is_over: bool,
}

/// Bytes on their way to a caller.
struct Leaving {
    bytes: Bytes,
    _charge: Option<Charge>,
    _call: Arc<Call>,
}

impl AsRef<[u8]> for Leaving {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answer {
    pub(super) fn new(body: Body, account: CallAccount, payer: &Payer, call: Arc<Call>) -> Self {
        let free = match payer {
            Payer::Source(_) | Payer::Identity(_) => FREE_REPLY_BYTES,
            _ => LOCAL_FREE_BYTES,
        };
        Self {
            body,
            account,
            free,
            call,
            is_over: false,
        }
    }

    /// A frame that is paid for as long as anybody has it.
    fn leaving(&self, bytes: Bytes) -> Result<Bytes, Exhausted> {
        let mut charge = None;
        if bytes.len() > self.free {
            charge.insert(self.account.open()).resize(bytes.len())?;
        }
        Ok(Bytes::from_owner(Leaving {
            bytes,
            _charge: charge,
            _call: Arc::clone(&self.call),
        }))
    }

    /// The end of the answer, with the reason in it.
    fn end(&mut self, status: &Status) -> Result<Frame<Bytes>, Status> {
        self.body = Body::empty();
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        Ok(Frame::trailers(trailers))
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame.into_data(),
            Some(Err(status)) => return Poll::Ready(Some(this.end(&status))),
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(match frame.map(|bytes| this.leaving(bytes)) {
            Ok(Ok(bytes)) => Ok(Frame::data(bytes)),
            Ok(Err(exhausted)) => this.end(&exhausted.into()),
            Err(trailers) => Ok(trailers),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
