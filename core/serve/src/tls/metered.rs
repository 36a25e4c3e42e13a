//! Bounds what a peer sends below TLS, where nothing of it is known yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::limits::MAX_HANDSHAKE_BYTES;
use crate::turnstile::Attention;
use crate::wire::Wire;

/// A connection from which only so much is read.
///
/// TLS keeps an unfinished message of a handshake, 64 KiB of it, whoever sends it, and after the
/// handshake as well.
#[derive(Debug)]
pub struct Metered<W = TcpStream> {
    stream: W,
    left: usize,
    unanswered: Option<Unanswered>,
}

/// The peer waits for us, as far as we know.
#[derive(Debug)]
struct Unanswered {
    _attention: Attention,
    /// The runtime tells of bytes that were there from the beginning only after it was asked in vain.
    was_asked: bool,
}

impl Metered {
    /// The connection.
    pub fn tcp(&self) -> &TcpStream {
        &self.stream
    }
}

impl<W: Wire> Metered<W> {
    /// A connection before its handshake.
    pub(super) fn new(stream: W, attention: Option<Attention>) -> Self {
        let unanswered = |attention| Unanswered {
            _attention: attention,
            was_asked: false,
        };
        Self {
            stream,
            left: MAX_HANDSHAKE_BYTES,
            unanswered: attention.map(unanswered),
        }
    }

    /// Nothing is to be done for the peer any more, or nothing for now.
    pub(super) fn answered(&mut self) {
        self.unanswered = None;
    }

    /// There is nothing to read, so it is the peer who has to say something.
    fn found_nothing(&mut self) {
        let Some(unanswered) = &mut self.unanswered else {
            return;
        };
        let is_first = !std::mem::replace(&mut unanswered.was_asked, true);
        if !(is_first && self.stream.has_bytes()) {
            self.unanswered = None;
        }
    }

    /// A peer that takes no more of our answer waits for nothing either.
    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        if written.is_pending() {
            self.unanswered = None;
        }
    }

    /// From now on the peer sends what it likes: it is known.
    pub(super) fn unlimited(&mut self) {
        self.left = usize::MAX;
    }

    /// The peer may send so much more.
    pub(super) fn grant(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes);
    }
}

impl<W: Wire> AsyncRead for Metered<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let error = "the peer sent more than is taken of it";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, error)));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_pending() {
            self.found_nothing();
        }
        // TLS reads 4 KiB at a time: the last read may go so far beyond.
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        read
    }
}

impl<W: Wire> AsyncWrite for Metered<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(&written);
        written
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.wrote(&written);
        written
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::counters::Counters;
    use crate::testing::soon;
    use crate::turnstile::Turnstile;

    #[tokio::test]
    async fn attention_is_free_once_the_peer_has_to_speak() {
        let turnstile = Turnstile::new(1, &Counters::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for has_spoken in [false, true] {
            let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            if has_spoken {
                peer.write_all(b"x").unwrap();
            }
            let (accepted, _) = listener.accept().unwrap();
            accepted.set_nonblocking(true).unwrap();
            let attention = turnstile.attention().now_or_never();
            let mut metered = Metered::new(TcpStream::from_std(accepted).unwrap(), attention);
            // The runtime has not looked at it yet.
            assert!(metered.read_u8().now_or_never().is_none());
            let is_free = || turnstile.attention().now_or_never().is_some();
            assert_eq!(is_free(), !has_spoken);
            if has_spoken {
                soon(metered.read_u8()).await.unwrap();
                assert!(metered.read_u8().now_or_never().is_none());
                assert!(is_free());
            }
        }
    }

    #[tokio::test]
    async fn no_more_is_read_than_was_granted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut peer, mut metered) = (peer.unwrap(), Metered::new(accepted.unwrap().0, None));
        let mut piece = vec![0; MAX_HANDSHAKE_BYTES];
        for _ in 0..3 {
            peer.write_all(&piece).await.unwrap();
        }
        soon(metered.read_exact(&mut piece)).await.unwrap();
        let beyond = soon(metered.read_u8()).await.unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::ConnectionAborted);
        metered.grant(1);
        soon(metered.read_u8()).await.unwrap();
        assert!(soon(metered.read_u8()).await.is_err());
        metered.unlimited();
        soon(metered.read_exact(&mut piece)).await.unwrap();
    }
}
