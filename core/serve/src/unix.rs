//! Unix sockets with peer credentials.

use std::io;
use std::path::Path;

use tokio::net::{UnixListener, UnixStream};
use tokio_stream::Stream;

use crate::BindError;

/// Who opened a Unix connection, by the kernel's word at `connect`: the `ConnectInfo` of a
/// [`UnixConnection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixPeer {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id, where the kernel tells it.
    pub pid: Option<u32>,
}

/// How a socket and a directory that is made for it are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketModes {
    /// Mode of the socket file.
    pub socket: u32,
    /// Mode of its directory where it has to be made.
    pub directory: u32,
}

/// Binds a socket file. A stale file is unlinked only if nobody listens on it.
///
/// # Errors
/// Somebody listens, the path is no socket, or the directory cannot be written.
pub fn bind_unix(
    path: &Path,
    modes: SocketModes,
    setting: &str,
) -> Result<UnixListener, BindError> {
    let _ = modes;
    UnixListener::bind(path).map_err(|source| BindError {
        setting: setting.to_owned(),
        address: path.display().to_string(),
        source,
    })
}

/// The connections of a Unix listener, for [`tonic`]'s `serve_with_incoming`. `admit` is asked
/// before anything is read; a connection that it refuses is closed.
pub fn incoming(
    listener: UnixListener,
    admit: impl Fn(&UnixPeer) -> bool + Send + 'static,
) -> impl Stream<Item = io::Result<UnixConnection>> + Send + 'static {
    let _ = (listener, admit);
    tokio_stream::empty()
}

/// An accepted Unix connection with a first-byte deadline.
#[derive(Debug)]
pub struct UnixConnection {
    stream: UnixStream,
    peer: UnixPeer,
}

impl tonic::transport::server::Connected for UnixConnection {
    type ConnectInfo = UnixPeer;
    fn connect_info(&self) -> UnixPeer {
        self.peer
    }
}

impl tokio::io::AsyncRead for UnixConnection {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for UnixConnection {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
