//! Reads a connection in turns.
//!
//! HTTP/2 decodes all that it can read before it hands on the first head of it, and 600 bytes become a
//! head of 30 kB where their fields are indexed. So of one connection only so much is read before its
//! heads are handed on and all other tasks have had their turn.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Once so many bytes were read a turn is over; its last read may go beyond.
pub(super) const TURN_BYTES: usize = 8 * 1024;

/// A connection of which only so much is read in each turn.
#[derive(Debug)]
pub(super) struct Paced<C> {
    connection: C,
    left: Arc<AtomicUsize>,
}

/// Begins the turns of a connection.
#[derive(Debug)]
pub(super) struct Turns(Arc<AtomicUsize>);

/// Nothing is read of the connection before its first turn.
pub(super) fn paced<C>(connection: C) -> (Paced<C>, Turns) {
    let left = Arc::new(AtomicUsize::new(0));
    let turns = Turns(Arc::clone(&left));
    (Paced { connection, left }, turns)
}

impl Turns {
    /// The next turn: once for each time that the connection's task runs.
    pub(super) fn begin(&self) {
        self.0.store(TURN_BYTES, Ordering::Relaxed);
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Paced<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            // There may be more: the task runs again, behind those that wait already.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.connection).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        self.left
            .store(left.saturating_sub(bytes), Ordering::Relaxed);
        read
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Paced<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
