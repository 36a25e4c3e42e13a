//! Bounds what a peer sends below TLS, where nothing of it is known yet.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::limits::MAX_HANDSHAKE_BYTES;

/// A TCP connection from which only so much is read.
///
/// TLS keeps an unfinished message of a handshake, 64 KiB of it, whoever sends it, and after the
/// handshake as well.
#[derive(Debug)]
pub struct Metered {
    stream: TcpStream,
    left: usize,
}

impl Metered {
    /// A connection before its handshake.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            left: MAX_HANDSHAKE_BYTES,
        }
    }

    /// The connection.
    pub fn tcp(&self) -> &TcpStream {
        &self.stream
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

impl AsyncRead for Metered {
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
        // TLS reads 4 KiB at a time: the last read may go so far beyond.
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::testing::soon;

    #[tokio::test]
    async fn no_more_is_read_than_was_granted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut peer, mut metered) = (peer.unwrap(), Metered::new(accepted.unwrap().0));
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
