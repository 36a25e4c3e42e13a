//! Gathers what is written in one turn of the scheduler, so that a connection with many calls costs
//! one TLS record and one system call for many answers.
//!
//! HTTP/2 flushes after every answer: its connection is a task that wakes first. Here a flush waits
//! until the worker has run whatever is ready to run, or until [`ENOUGH_BYTES`] wait. It is no timer:
//! where nothing else is to do the flush comes at once. But no other worker can take it over: who
//! blocks a worker holds up the answers of the connections that it last ran.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::yield_now;

/// Bytes that wait for the end of a turn, at most: as many as a TLS record takes.
pub(crate) const MAX_GATHERED_BYTES: usize = 16 * 1024;
/// Bytes that wait for nothing: what is saved by more of them is little, and HTTP/2 says nothing
/// further behind a large frame before it is flushed.
const ENOUGH_BYTES: usize = MAX_GATHERED_BYTES / 2;

/// A stream whose flushes wait for the end of the turn.
#[derive(Debug)]
pub(crate) struct Gathering<S> {
    inner: S,
    /// Bytes from `sent` on wait.
    gathered: Vec<u8>,
    sent: usize,
    turn: Arc<Turn>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody has asked for a flush.
    Filling,
    /// A flush waits for the end of the turn.
    Waiting,
    /// The turn is over, or enough has come.
    Flushing,
}

/// Is woken when the worker has run what was ready.
#[derive(Debug, Default)]
struct Turn {
    is_over: AtomicBool,
    connection: AtomicWaker,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.is_over.store(true, Ordering::Release);
        self.connection.wake();
    }
}

impl<S> Gathering<S> {
    /// The stream.
    pub(crate) fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            gathered: Vec::new(),
            sent: 0,
            turn: Arc::default(),
            stage: Stage::Filling,
        }
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Whether the turn is over in which the flush was asked for.
    fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.gathered.len() >= ENOUGH_BYTES {
            self.stage = Stage::Flushing;
        }
        if self.stage == Stage::Filling {
            self.stage = Stage::Waiting;
            self.turn.is_over.store(false, Ordering::Relaxed);
            self.turn.connection.register(cx.waker());
            let waker = Waker::from(self.turn.clone());
            // Leaves the waker with the scheduler; what it was left by is not needed any more.
            if pin!(yield_now())
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
            {
                self.stage = Stage::Flushing;
            }
        }
        self.turn.connection.register(cx.waker());
        if self.turn.is_over.load(Ordering::Acquire) {
            self.stage = Stage::Flushing;
        }
        match self.stage {
            Stage::Flushing => Poll::Ready(()),
            Stage::Filling | Stage::Waiting => Poll::Pending,
        }
    }

    /// Keeps bytes that fit below the bound. The room grows by doubling, as a vector does by itself,
    /// but never beyond the bound: so much a peer that reads nothing can hold, and no more.
    fn gather(&mut self, bytes: &[u8]) {
        let length = self.gathered.len();
        let wanted = length + bytes.len();
        if wanted > self.gathered.capacity() {
            let room = wanted.next_power_of_two().min(MAX_GATHERED_BYTES);
            self.gathered.reserve_exact(room - length);
        }
        self.gathered.extend_from_slice(bytes);
    }

    /// Hands everything that waits to the stream below.
    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            let rest = &self.gathered[self.sent..];
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += sent;
        }
        // An idle connection keeps no buffer.
        (self.gathered, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.gathered.len() + bytes.len() > MAX_GATHERED_BYTES {
            ready!(this.poll_hand_over(cx))?;
        }
        let room = MAX_GATHERED_BYTES - this.gathered.len();
        let taken = bytes.len().min(room);
        this.gather(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gathered.is_empty() && this.stage == Stage::Filling {
            return Pin::new(&mut this.inner).poll_flush(cx);
        }
        ready!(this.poll_turn(cx));
        ready!(this.poll_hand_over(cx))?;
        ready!(Pin::new(&mut this.inner).poll_flush(cx))?;
        this.stage = Stage::Filling;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_hand_over(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests;
