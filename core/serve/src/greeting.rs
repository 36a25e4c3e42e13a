//! Cuts a connection that does not greet: HTTP/2 keepalive only begins after the preface, so a
//! peer that says nothing, or drips, would stay for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Length of the HTTP/2 client preface (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

/// What is still missing of a greeting, and until when.
#[derive(Debug)]
pub(crate) struct Greeting {
    missing: usize,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Greeting {
    /// The preface is due within `limit` from now on.
    pub(crate) fn within(limit: Duration) -> Self {
        Self {
            missing: PREFACE_BYTES,
            deadline: Some(Box::pin(sleep(limit))),
        }
    }

    /// Reads from `stream`, and fails where the greeting is late.
    pub(crate) fn poll_read<S: AsyncRead>(
        &mut self,
        stream: Pin<&mut S>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = stream.poll_read(cx, buf);
        let Some(deadline) = &mut self.deadline else {
            return read;
        };
        self.missing = self.missing.saturating_sub(buf.filled().len() - before);
        if self.missing == 0 {
            self.deadline = None;
            return read;
        }
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => read,
        }
    }
}
