//! When the other side of a connection was heard last, and whether it ended the connection or we did: HTTP/2
//! closes one on which a keepalive was not answered, and its calls hear only that it is closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What was heard of the other side of a connection, or of the network.
#[derive(Clone, Debug)]
pub(super) struct Heard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: Instant,
    /// When the last bytes came: so many milliseconds after the beginning.
    last: AtomicU64,
    has_ended: AtomicBool,
}

impl Heard {
    /// Of a connection that begins now.
    pub(super) fn since(now: Instant) -> Self {
        Self(Arc::new(Inner {
            begun: now,
            last: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
        }))
    }

    /// Whether it ended the connection.
    pub(super) fn the_end(&self) -> bool {
        self.0.has_ended.load(Ordering::Relaxed)
    }

    /// When it was heard last.
    pub(super) fn at(&self) -> Instant {
        self.0.begun + Duration::from_millis(self.0.last.load(Ordering::Relaxed))
    }

    fn something(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.0.begun).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.0.last.store(millis, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
    }

    fn error_of<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = polled {
            self.end();
        }
        polled
    }
}

/// A connection whose other side is listened to.
#[derive(Debug)]
pub(super) struct Observed<S> {
    stream: S,
    heard: Heard,
}

impl<S> Observed<S> {
    /// What is heard goes to `heard`.
    pub(super) fn new(stream: S, heard: Heard) -> Self {
        Self { stream, heard }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(polled, Poll::Ready(Ok(()))) && room > 0 {
            match buffer.filled().len() == before {
                true => self.heard.end(),
                false => self.heard.something(Instant::now()),
            }
        }
        self.heard.error_of(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.heard.error_of(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.heard.error_of(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.heard.error_of(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    fn observed() -> (Observed<DuplexStream>, DuplexStream, Heard) {
        let (near, far) = duplex(64);
        let heard = Heard::since(Instant::now());
        (Observed::new(near, heard.clone()), far, heard)
    }

    #[tokio::test]
    async fn end_by_the_other_side_is_heard() {
        let (mut near, mut far, heard) = observed();
        far.write_all(b"x").await.unwrap();
        near.write_all(b"y").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'x');
        assert!(!heard.the_end());
        drop(far);
        assert!(near.read_u8().await.is_err());
        assert!(heard.the_end());
    }

    #[tokio::test(start_paused = true)]
    async fn moment_of_the_last_bytes_is_known() {
        let (mut near, mut far, heard) = observed();
        let begun = Instant::now();
        assert_eq!(heard.at(), begun);
        far.write_all(b"xy").await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        // What we write says nothing of the other side.
        near.write_all(b"z").await.unwrap();
        assert_eq!(heard.at(), begun);
        assert_eq!(near.read_u8().await.unwrap(), b'x');
        assert_eq!(heard.at(), begun + Duration::from_secs(2));
    }

    #[tokio::test]
    async fn own_end_is_none_of_the_other_side() {
        let (near, _far, heard) = observed();
        drop(near);
        assert!(!heard.the_end());
    }
}
