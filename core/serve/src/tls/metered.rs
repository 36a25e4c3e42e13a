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
