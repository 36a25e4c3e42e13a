//! One end of a connection, as TCP would be: it is read, written, and closed when it is dropped.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_serve::grpc::{Capacity, Connection};
use countersign_serve::limits::CAPACITY_OF_USERS;
use countersign_serve::unix::UnixPeer;
use countersign_serve::wire::Wire;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::Network;
use super::pipe::{Found, Pipe};

/// One end.
pub(crate) struct End {
    network: Network,
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    arrival: Option<Pin<Box<Sleep>>>,
}

impl End {
    /// Two ends of one connection: of whoever dials, and of whoever is dialled.
    pub(super) fn pair(network: &Network, from: IpAddr, to: IpAddr) -> (Self, Self) {
        let (there, back) = (Pipe::new(from, to), Pipe::new(to, from));
        network.note([&there, &back]);
        let end = |incoming, outgoing| Self {
            network: network.clone(),
            incoming,
            outgoing,
            arrival: None,
        };
        (end(back.clone(), there.clone()), end(there, back))
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.incoming.receive(buffer, cx) {
                Found::Ready(outcome) => return Poll::Ready(outcome),
                Found::Later(None) => return Poll::Pending,
                Found::Later(Some(due)) => {
                    let arrival = self
                        .arrival
                        .get_or_insert_with(|| Box::pin(sleep_until(due)));
                    arrival.as_mut().reset(due);
                    if arrival.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outgoing.poll_send(&self.network, bytes, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.end(&self.network);
        Poll::Ready(Ok(()))
    }
}

/// As the kernel does for a process that ends.
impl Drop for End {
    fn drop(&mut self) {
        self.outgoing.end(&self.network);
    }
}

impl Wire for End {
    fn has_bytes(&self) -> bool {
        self.incoming.has_arrived()
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "End({} -> {})", self.outgoing.from, self.outgoing.to)
    }
}

/// A connection of an operator on the control plane's machine: the kernel would name root.
#[derive(Debug)]
pub(crate) struct Local(End);

impl Local {
    /// Both ends.
    pub(crate) fn pair(network: &Network) -> (End, Self) {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (ours, theirs) = End::pair(network, here, here);
        (ours, Self(theirs))
    }
}

impl Connection for Local {
    type Peer = UnixPeer;

    fn peer(&self) -> UnixPeer {
        UnixPeer {
            uid: 0,
            gid: 0,
            pid: None,
        }
    }

    fn capacity(&self) -> Capacity {
        CAPACITY_OF_USERS
    }
}

impl AsyncRead for Local {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Local {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
