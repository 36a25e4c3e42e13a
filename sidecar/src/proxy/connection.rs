//! One connection of the proxy: counted while it is open, logged once when it ends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use countersign_model::SpiffeId;
use countersign_serve::tls::HandshakeError;
use countersign_telemetry::{Principal, peer_line};
use countersign_verify::tls::peer_of;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::callers::CallerRefused;
use super::identity::{Identities, LocalIdentity, Presented};
use super::{CONNECT_DEADLINE, Listening, copy};
use crate::clock;
use crate::telemetry::{Metrics, Side};

/// Why a connection ended other than by its ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// There is nothing to present: the right was removed.
    #[error("this node does not hold the identity")]
    NoIdentity,
    /// The right to the identity was removed while the connection was open.
    #[error("the right to the identity ended")]
    Withdrawn,
    /// The socket at the local end belongs to nobody who may use the identity.
    #[error(transparent)]
    Caller(#[from] CallerRefused),
    /// TLS failed or was too slow.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The next hop is not there.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// One end broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// An open connection.
pub(super) struct Connection {
    listener: String,
    side: Side,
    peer: SocketAddr,
    identity: Arc<LocalIdentity>,
    identities: Arc<Identities>,
    metrics: Arc<Metrics>,
    right: CancellationToken,
    opened: Instant,
}

impl Connection {
    pub(super) fn open(
        listening: &Listening,
        peer: SocketAddr,
        identities: Arc<Identities>,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.connections(listening.side, 1);
        Self {
            listener: listening.name.clone(),
            side: listening.side,
            peer,
            identity: Arc::clone(&listening.identity),
            identities,
            metrics,
            // Taken before the handshake: a right that ends in between ends this connection.
            right: listening.identity.right(),
            opened: Instant::now(),
        }
    }

    /// Address of the end that connected to us.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What a handshake that begins now will present.
    pub(super) fn presented(&self) -> Result<Arc<Presented>, Ended> {
        self.identity.presented().ok_or(Ended::NoIdentity)
    }

    /// Runs one handshake and notes how it ended and what it served.
    pub(super) async fn handshake<T>(
        &self,
        presented: &Arc<Presented>,
        handshake: impl Future<Output = Result<T, HandshakeError>>,
    ) -> Result<T, Ended> {
        let done = handshake.await;
        let result = done.as_ref().err().map_or("ok", HandshakeError::code);
        self.metrics.handshake(self.side, result);
        let tls = done?;
        self.identities
            .note_served(&self.identity, presented, clock::now());
        Ok(tls)
    }

    /// Tells who is at the other end.
    pub(super) fn verified(&self, certificates: Option<&[CertificateDer<'_>]>) {
        let peer_id: Option<SpiffeId> = certificates.and_then(peer_of).map(|svid| svid.id);
        tracing::debug!(
            listener = %self.listener,
            peer = %self.peer,
            peer_id = peer_id.as_ref().map(tracing::field::display),
            "connection verified"
        );
    }

    /// Connects to the next hop, within the deadline.
    pub(super) async fn connect(&self, address: SocketAddr) -> Result<TcpStream, Ended> {
        let failed = |source| Ended::Connect { address, source };
        let stream = timeout(CONNECT_DEADLINE, TcpStream::connect(address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(failed)?;
        countersign_serve::tcp::tune(&stream).map_err(failed)?;
        Ok(stream)
    }

    /// Carries bytes for as long as the right lasts.
    pub(super) async fn carry(
        &self,
        mut plain: TcpStream,
        tls: impl AsyncRead + AsyncWrite,
    ) -> Result<(), Ended> {
        let copying = copy::both_ways(&mut plain, tls);
        let copied = self.right.run_until_cancelled(copying).await;
        let ended = copied
            .ok_or(Ended::Withdrawn)
            .and_then(|copied| Ok(copied?));
        if ended.is_err() {
            reset(&plain);
        }
        ended.map(drop)
    }

    /// Logs why it ended. What a stranger can cause at will is no warning.
    pub(super) fn close(self, ended: Result<(), Ended>) {
        let (listener, peer) = (&self.listener, self.peer);
        let principal = Principal::source(peer.ip()).at(listener);
        match ended {
            Ok(()) => {}
            Err(error @ (Ended::Caller(_) | Ended::Connect { .. } | Ended::NoIdentity)) => {
                peer_line!(WARN, principal, %listener, %peer, %error, "connection refused");
            }
            Err(error @ Ended::Handshake(_)) if self.side == Side::Outbound => {
                peer_line!(WARN, principal, %listener, %peer, %error, "connection refused");
            }
            Err(error) => tracing::debug!(%listener, %peer, %error, "connection broken"),
        }
    }
}

/// Closes a plaintext end so that it is no orderly end: else a caller takes nothing for an empty
/// answer, and half an answer for a whole one.
pub(super) fn reset(plain: &TcpStream) {
    // A socket that is closed already needs none.
    let _ = plain.set_zero_linger();
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections(self.side, -1);
        let open_secs = self.opened.elapsed().as_secs();
        tracing::debug!(listener = %self.listener, peer = %self.peer, open_secs, "connection closed");
    }
}
