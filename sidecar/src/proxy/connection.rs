//! One connection of the proxy: counted while it is open, logged once when it ends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use countersign_model::SpiffeId;
use countersign_serve::places::Holder;
use countersign_serve::source::Source;
use countersign_serve::tls::HandshakeError;
use countersign_telemetry::{Principal, peer_line};
use countersign_verify::tls::{handshake_code, handshake_words, peer_of, refused_peer};
use rustix::net::sockopt::set_socket_linger;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::callers::CallerRefused;
use super::identity::{Identities, IdentityExpired, LocalIdentity, Presented};
use super::{CONNECT_DEADLINE, Listening, copy};
use crate::telemetry::{Metrics, Side};

/// Why a connection ended other than by its ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// There is nothing to present: the right was removed.
    #[error("this node does not hold the identity")]
    NoIdentity,
    /// What there is to present has expired.
    #[error(transparent)]
    Expired(#[from] IdentityExpired),
    /// The right to the identity was removed while the connection was open.
    #[error("the right to the identity ended")]
    Withdrawn,
    /// The socket at the local end belongs to nobody who may use the identity.
    #[error(transparent)]
    Caller(#[from] CallerRefused),
    /// TLS failed or was too slow.
    #[error("{error}")]
    Handshake {
        /// Why.
        error: HandshakeError,
        /// Whose certificate the peer showed, where a bundle of ours vouches for it.
        peer_id: Option<SpiffeId>,
    },
    /// The next hop is not there.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Its peer has its share of the connections, or there are no more.
    #[error("no place is left for a connection of this peer")]
    NoPlace,
    /// One end broke. A TLS peer that refuses us says so after our handshake is over.
    #[error("{}", handshake_words(.0))]
    Broken(#[from] io::Error),
}

/// An open connection.
pub(super) struct Connection {
    listener: Arc<str>,
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
            listener: Arc::clone(&listening.name),
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
        let presented = self.identity.presented().ok_or(Ended::NoIdentity)?;
        presented.check_time(self.identities.now())?;
        Ok(presented)
    }

    /// Runs one handshake and notes how it ended and what it served.
    pub(super) async fn handshake<T>(
        &self,
        presented: &Arc<Presented>,
        handshake: impl Future<Output = Result<T, HandshakeError>>,
    ) -> Result<T, Ended> {
        let (done, peer_id) = refused_peer(handshake).await;
        let result = done.as_ref().err().map_or("ok", HandshakeError::code);
        self.metrics.handshake(self.side, result);
        let tls = done.map_err(|error| Ended::Handshake { error, peer_id })?;
        self.identities
            .note_served(&self.identity, presented, self.identities.now());
        Ok(tls)
    }

    /// Tells who is at the other end, and whom the connection is counted for.
    pub(super) fn verified(&self, certificates: Option<&[CertificateDer<'_>]>) -> Holder {
        let peer_id: Option<SpiffeId> = certificates.and_then(peer_of).map(|svid| svid.id);
        tracing::debug!(
            listener = %self.listener,
            peer = %self.peer,
            peer_id = peer_id.as_ref().map(tracing::field::display),
            "connection verified"
        );
        let source = || Holder::Source(Source::of(self.peer.ip()));
        peer_id.map_or_else(source, Holder::Identity)
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

    /// Does what is of use for as long as the right lasts.
    pub(super) async fn while_right<T>(&self, future: impl Future<Output = T>) -> Result<T, Ended> {
        let done = self.right.run_until_cancelled(future).await;
        done.ok_or(Ended::Withdrawn)
    }

    /// Carries bytes for as long as the right lasts.
    pub(super) async fn carry(
        &self,
        mut plain: TcpStream,
        tls: impl AsyncRead + AsyncWrite,
    ) -> Result<(), Ended> {
        let copying = copy::both_ways(&mut plain, tls);
        let ended = self.while_right(copying).await;
        let ended = ended.and_then(|copied| Ok(copied?));
        if ended.is_err() {
            reset(&plain);
        }
        ended.map(drop)
    }

    /// Logs why it ended, and counts what was refused.
    pub(super) fn close(self, ended: Result<(), Ended>) {
        let Err(error) = ended else {
            return;
        };
        let (listener, peer) = (&*self.listener, self.peer);
        let Some(reason) = error.refusal() else {
            tracing::debug!(listener, %peer, %error, "connection broken");
            return;
        };
        self.metrics.refusal(&self.listener, reason);
        if error.is_of_certificate(reason) {
            self.metrics.certificate_refused();
        }
        if self.side == Side::Inbound && NOISE.contains(&reason) {
            tracing::debug!(listener, %peer, reason, %error, "connection refused");
            return;
        }
        let peer_id = error.peer_id().map(tracing::field::display);
        let principal = error.principal(peer).at(listener);
        peer_line!(WARN, principal, listener, %peer, peer_id, reason, %error, "connection refused");
    }
}

/// Refusals of an inbound listener that are counted and logged as no warning: whoever looks for open
/// ports, or asks whether one is open, causes them.
const NOISE: [&str; 4] = ["connection", "deadline", "evicted", "tls"];

impl Ended {
    /// Why nothing was carried, as a word for the metric; `None` where something was. One of
    /// [`HandshakeError::code`], or of these.
    fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::NoIdentity => Some("no_identity"),
            Self::Expired(_) => Some("identity_expired"),
            Self::Caller(refused) => Some(refused.code()),
            Self::Handshake { error, .. } => Some(error.code()),
            Self::Connect { .. } => Some("connect"),
            Self::NoPlace => Some("no_place"),
            Self::Broken(error) => {
                let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
                matches!(tls, rustls::Error::AlertReceived(_)).then(|| handshake_code(tls))
            }
            Self::Withdrawn => None,
        }
    }

    /// Whether one end did not take the certificate of the other. Who shows none looks for open ports.
    fn is_of_certificate(&self, reason: &str) -> bool {
        let is_noise = NOISE.contains(&reason) || reason == "no_certificate";
        matches!(self, Self::Handshake { .. } | Self::Broken(_)) && !is_noise
    }

    fn peer_id(&self) -> Option<&SpiffeId> {
        match self {
            Self::Handshake { peer_id, .. } => peer_id.as_ref(),
            _ => None,
        }
    }

    /// Who caused it, as far as it was proved.
    fn principal(&self, peer: SocketAddr) -> Principal {
        match self {
            Self::Caller(CallerRefused::Uid(uid)) => Principal::uid(*uid),
            _ => Principal::source(peer.ip()),
        }
    }
}

/// Closes a plaintext end so that it is no orderly end: else a caller takes nothing for an empty
/// answer, and half an answer for a whole one.
pub(super) fn reset(plain: &impl AsFd) {
    // A socket that is closed already needs none.
    let _ = set_socket_linger(plain, Some(Duration::ZERO));
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections(self.side, -1);
        let open_secs = self.opened.elapsed().as_secs();
        tracing::debug!(listener = %self.listener, peer = %self.peer, open_secs, "connection closed");
    }
}
