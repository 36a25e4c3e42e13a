//! Connections of the local socket, each with the process that opened it.
//!
//! A pid is used again, a pid with its start time is not. The start time is read as soon as the
//! connection is accepted. The window that remains is the one between the caller's `connect` and
//! that moment: a process that connects, ends, and has its pid taken by another of the *same*
//! uid within it is taken for that other one (the uid itself is the kernel's record of `connect`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_serve::unix::{UnixConnection, UnixPeer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::Connected;

use crate::attest::Process;

/// Who opened a connection: found in the extensions of every request on it.
#[derive(Clone, Copy, Debug)]
pub struct LocalPeer {
    /// By the kernel's word at `connect`.
    pub peer: UnixPeer,
    /// The process of that pid at `accept`; `None` where it was gone already.
    pub process: Option<Process>,
}

impl LocalPeer {
    /// The process that has the peer's pid now.
    pub fn now(peer: UnixPeer) -> Self {
        let process = peer.pid.and_then(|pid| Process::of(pid).ok());
        Self { peer, process }
    }
}

/// Looks up the process behind each connection as it is accepted.
pub fn recognised(
    connections: impl Stream<Item = io::Result<UnixConnection>> + Send + 'static,
) -> impl Stream<Item = io::Result<LocalConnection>> + Send + 'static {
    connections.map(|connection| {
        connection.map(|connection| LocalConnection {
            peer: LocalPeer::now(connection.connect_info()),
            connection,
        })
    })
}

/// A connection whose process is known.
#[derive(Debug)]
pub struct LocalConnection {
    connection: UnixConnection,
    peer: LocalPeer,
}

impl Connected for LocalConnection {
    type ConnectInfo = LocalPeer;
    fn connect_info(&self) -> LocalPeer {
        self.peer
    }
}

impl AsyncRead for LocalConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buffer)
    }
}

impl AsyncWrite for LocalConnection {
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
