//! Plaintext in, mTLS out.

use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::Arc;

use countersign_serve::limits::HANDSHAKE_DEADLINE;
use countersign_serve::places::{Holder, Place};
use countersign_serve::source::Source;
use countersign_serve::tcp::tune;
use countersign_serve::tls::HandshakeError;
use countersign_verify::tls::{IdentityCell, PeerRule, TrustCell, client_config};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::callers::admit_caller;
use super::connection::{Connection, Ended, reset};
use super::entering::OpenPlaces;
use super::identity::Presented;
use crate::attest::socket_owner::other_ends;
use crate::attest::{DiagnosticsError, OtherEnd};
use crate::config::{AttestCallers, Outbound};

/// Who is at the other end of a connection that was just accepted.
pub(super) enum LocalEnd {
    /// Whom the kernel names.
    Attested(Result<OtherEnd, DiagnosticsError>),
    /// Nobody is asked for: the network namespace is the workload's own.
    Anybody,
}

/// What a caller that may use the identity is given.
pub(super) struct AdmittedCaller {
    presented: Arc<Presented>,
    place: Place,
}

/// Where the connections of one outbound listener go.
pub(super) struct OutboundRoute {
    tls: TlsConnector,
    connect: SocketAddr,
    pub(super) attest: AttestCallers,
}

impl OutboundRoute {
    pub(super) fn new(
        listener: &Outbound,
        identity: &Arc<IdentityCell>,
        trust: &Arc<TrustCell>,
    ) -> Self {
        let expect = PeerRule::OneOf(listener.expect.iter().cloned().collect());
        let config = client_config(Some(Arc::clone(identity)), Arc::clone(trust), expect, &[]);
        Self {
            tls: config.into(),
            connect: listener.connect,
            attest: listener.attest_callers,
        }
    }

    /// Whose these connections are, where that is to be proved.
    pub(super) async fn callers(&self, accepted: &[StdTcpStream]) -> Vec<LocalEnd> {
        match self.attest {
            AttestCallers::Uid => {
                let ends = other_ends(accepted).await;
                ends.into_iter().map(LocalEnd::Attested).collect()
            }
            AttestCallers::Netns => accepted.iter().map(|_| LocalEnd::Anybody).collect(),
        }
    }

    /// The caller is attested before anything leaves this machine in its name. It takes a place only
    /// after that.
    pub(super) fn admit(
        &self,
        caller: LocalEnd,
        open: &OpenPlaces,
        connection: &Connection,
    ) -> Result<AdmittedCaller, Ended> {
        let presented = connection.presented()?;
        let holder = match caller {
            LocalEnd::Attested(end) => Holder::Uid(admit_caller(end, &presented)?),
            LocalEnd::Anybody => Holder::Source(Source::of(connection.peer().ip())),
        };
        let place = open.settle(holder)?;
        Ok(AdmittedCaller { presented, place })
    }

    /// Carries what an admitted caller sends. One that cannot be served sees its connection reset.
    pub(super) async fn carry(
        &self,
        stream: StdTcpStream,
        admitted: AdmittedCaller,
        connection: &Connection,
    ) -> Result<(), Ended> {
        let stream = TcpStream::from_std(stream)?;
        // A socket that is closed already says so when it is used.
        let _ = tune(&stream);
        let AdmittedCaller { presented, place } = admitted;
        let _place = place;
        match Box::pin(self.remote(&presented, connection)).await {
            Ok(tls) => connection.carry(stream, tls).await,
            Err(ended) => {
                reset(&stream);
                Err(ended)
            }
        }
    }

    async fn remote(
        &self,
        presented: &Arc<Presented>,
        connection: &Connection,
    ) -> Result<TlsStream<TcpStream>, Ended> {
        let remote = connection.connect(self.connect).await?;
        let tls = connection
            .handshake(presented, self.handshake(remote))
            .await?;
        connection.verified(tls.get_ref().1.peer_certificates());
        Ok(tls)
    }

    async fn handshake(&self, remote: TcpStream) -> Result<TlsStream<TcpStream>, HandshakeError> {
        // The peer is recognised by its SPIFFE ID alone; the address only fills the field.
        let name = ServerName::from(self.connect.ip());
        let connecting = timeout(HANDSHAKE_DEADLINE, self.tls.connect(name, remote));
        let done = connecting.await.map_err(|_| HandshakeError::Deadline)?;
        Ok(done?)
    }
}

impl std::fmt::Debug for OutboundRoute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboundRoute")
            .field("connect", &self.connect)
            .finish_non_exhaustive()
    }
}
