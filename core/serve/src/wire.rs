//! What carries bytes between two hosts, below TLS: TCP of the kernel, or a network that a simulation
//! owns.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::accept::accept_tcp;

/// One connection between two hosts.
pub trait Wire: AsyncRead + AsyncWrite + fmt::Debug + Unpin + Send + 'static {
    /// Whether the peer has said something that nobody has read yet.
    fn has_bytes(&self) -> bool;
}

/// Where connections of other hosts come from.
pub trait Listen: Send + Sync + 'static {
    /// What they are.
    type Wire: Wire;

    /// The next one, and the address of its peer. Never gives up, and is cancel safe, as
    /// [`accept_tcp`].
    fn accept(&self) -> impl Future<Output = (Self::Wire, SocketAddr)> + Send;
}

impl Wire for TcpStream {
    fn has_bytes(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(self, &mut [0], flags).is_ok()
    }
}

impl Listen for TcpListener {
    type Wire = TcpStream;

    fn accept(&self) -> impl Future<Output = (TcpStream, SocketAddr)> + Send {
        accept_tcp(self)
    }
}

/// A connection that is being made.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// How connections to other hosts are made.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Connects to an address.
    fn dial(&self, to: SocketAddr) -> Dialling;
}

/// The kernel's TCP, without Nagle's delay.
#[derive(Clone, Copy, Debug)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial(&self, to: SocketAddr) -> Dialling {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    }
}

impl Wire for Box<dyn Wire> {
    fn has_bytes(&self) -> bool {
        (**self).has_bytes()
    }
}
