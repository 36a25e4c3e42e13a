//! What was heard of a connection: HTTP/2 closes one on which a keepalive was not answered, and its calls
//! hear only that it is closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What was heard of the other side of a connection.
#[derive(Clone, Debug)]
pub(super) struct Heard(Arc<Notes>);

#[derive(Debug)]
struct Notes {
    since: Instant,
    /// The newest bytes, so many milliseconds after `since`.
    at_millis: AtomicU64,
    /// It, or the network, has ended the connection.
    has_ended: AtomicBool,
}

impl Heard {
    /// Of a connection that is open since `now`.
    pub(super) fn since(now: Instant) -> Self {
        Self(Arc::new(Notes {
            since: now,
            at_millis: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
        }))
    }

    /// Whether it has said nothing for so long, not even that it ends.
    pub(super) fn nothing_for(&self, silence: Duration, now: Instant) -> bool {
        let at = Duration::from_millis(self.0.at_millis.load(Ordering::Relaxed));
        let heard = self.0.since + at;
        !self.0.has_ended.load(Ordering::Relaxed) && now.saturating_duration_since(heard) >= silence
    }

    fn bytes(&self, now: Instant) {
        let at = now.saturating_duration_since(self.0.since).as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        self.0.at_millis.store(at, Ordering::Relaxed);
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
                false => self.heard.bytes(Instant::now()),
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

    const SILENCE: Duration = Duration::from_millis(100);

    fn observed() -> (Observed<DuplexStream>, DuplexStream, Heard) {
        let (near, far) = duplex(64);
        let heard = Heard::since(Instant::now());
        (Observed::new(near, heard.clone()), far, heard)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_and_end_are_heard() {
        let (mut near, mut far, heard) = observed();
        tokio::time::advance(SILENCE).await;
        assert!(heard.nothing_for(SILENCE, Instant::now()));
        far.write_all(b"x").await.unwrap();
        near.write_all(b"y").await.unwrap();
        assert!(
            heard.nothing_for(SILENCE, Instant::now()),
            "what we say is no answer"
        );
        assert_eq!(near.read_u8().await.unwrap(), b'x');
        assert!(!heard.nothing_for(SILENCE, Instant::now()));
        tokio::time::advance(SILENCE).await;
        assert!(heard.nothing_for(SILENCE, Instant::now()));
        drop(far);
        assert!(near.read_u8().await.is_err());
        assert!(!heard.nothing_for(SILENCE, Instant::now()), "it ended");
    }

    #[tokio::test(start_paused = true)]
    async fn own_end_is_none_of_the_other_side() {
        let (near, _far, heard) = observed();
        drop(near);
        tokio::time::advance(SILENCE).await;
        assert!(heard.nothing_for(SILENCE, Instant::now()));
    }
}
