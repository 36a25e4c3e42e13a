//! TLS: single handshakes for the proxy, and the [connections](incoming) of gRPC servers.

mod connection;
mod incoming;
mod metered;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_verify::VerifiedSvid;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::limits::HANDSHAKE_DEADLINE;
use crate::turnstile::Turn;
use crate::wire::Wire;

pub use connection::TlsConnection;
pub use incoming::{TlsService, incoming};
pub use metered::Metered;

pub use crate::places::Standing;

/// Who is at the other end of a TLS connection: the `ConnectInfo` of a [`TlsConnection`], found
/// in the extensions of every tonic request.
#[derive(Clone, Debug)]
pub struct TlsPeer {
    /// Its address.
    pub address: SocketAddr,
    /// Its identity, where it presented one; verified in the handshake.
    pub svid: Option<Arc<VerifiedSvid>>,
    /// The TLS exporter that binds key proofs to this session (RFC 8446 section 7.5).
    pub exporter: [u8; 32],
}

/// Why an incoming handshake came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not finished within the deadline.
    #[error("the handshake was not finished in time")]
    Deadline,
    /// So many came after it that it had to go.
    #[error("the handshake was cut to make room for others")]
    Evicted,
    /// TLS or the verifier refused it, or the connection broke.
    #[error("the handshake failed: {}", countersign_verify::tls::handshake_words(.0))]
    Failed(#[from] io::Error),
}

impl HandshakeError {
    /// Whether the peer showed a certificate, and that is why.
    fn is_about_a_certificate(&self) -> bool {
        let Self::Failed(error) = self else {
            return false;
        };
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
    }

    /// A stable word for metric labels and logs: the verifier's rule where it refused.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Evicted => "evicted",
            Self::Failed(error) => error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .map_or("connection", countersign_verify::tls::handshake_code),
        }
    }
}

/// One handshake, within [`HANDSHAKE_DEADLINE`] and while it has its turn, on an accepted connection.
/// Whoever has finished it may send what it likes.
///
/// # Errors
/// The handshake failed, ran out of time or was put out; the connection is closed.
pub async fn handshake(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    turn: Turn,
) -> Result<TlsStream<Metered>, HandshakeError> {
    // A socket that is closed already says so in the handshake.
    let _ = stream.set_nodelay(true);
    let mut stream = handshake_within(stream, config, turn, HANDSHAKE_DEADLINE).await?;
    stream.get_mut().0.unlimited();
    Ok(stream)
}

async fn handshake_within<W: Wire>(
    stream: W,
    config: Arc<ServerConfig>,
    mut turn: Turn,
    deadline: Duration,
) -> Result<TlsStream<Metered<W>>, HandshakeError> {
    let stream = Metered::new(stream, turn.take_attention());
    let accepting = Box::pin(async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        turn.greet();
        let mut finished = hello.into_stream(config).await?;
        finished.get_mut().0.answered();
        Ok(finished)
    });
    match turn.run(timeout(deadline, accepting)).await? {
        Ok(finished) => finished,
        Err(_) => Err(HandshakeError::Deadline),
    }
}

#[cfg(test)]
mod tests;
