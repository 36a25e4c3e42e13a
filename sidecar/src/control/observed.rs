//! Whether the other side ended a connection, or we did: HTTP/2 closes one on which a keepalive was not
//! answered, and its calls hear only that it is closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether the other side, or the network, has ended a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<AtomicBool>);

impl Heard {
    /// It has.
    pub(super) fn the_end(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
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
        let is_end = room > 0 && buffer.filled().len() == before;
        if is_end && matches!(polled, Poll::Ready(Ok(()))) {
            self.heard.end();
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
        let heard = Heard::default();
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

    #[tokio::test]
    async fn own_end_is_none_of_the_other_side() {
        let (near, _far, heard) = observed();
        drop(near);
        assert!(!heard.the_end());
    }
}
