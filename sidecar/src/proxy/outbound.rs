//! Plaintext in, mTLS out.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_serve::limits::HANDSHAKE_DEADLINE;
use countersign_serve::places::{Holder, Place};
use countersign_serve::source::Source;
use countersign_serve::tls::HandshakeError;
use countersign_serve::turnstile::Turn;
use countersign_verify::tls::{IdentityCell, PeerRule, TrustCell, client_config};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::callers;
use super::connection::{Connection, Ended, reset};
use super::entering::{Entering, OpenPlaces, settle};
use crate::config::{AttestCallers, Outbound};

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

    /// A caller that is refused sees its connection reset.
    pub(super) async fn carry(
        &self,
        entering: Entering,
        connection: &Connection,
    ) -> Result<(), Ended> {
        let Entering { stream, turn, open } = entering;
        match Box::pin(self.peer(&stream, (turn, &open), connection)).await {
            Ok((tls, _place)) => connection.carry(stream, tls).await,
            Err(refused) => {
                reset(&stream);
                Err(refused)
            }
        }
    }

    /// The caller is attested before anything leaves this machine in its name.
    async fn peer(
        &self,
        caller: &TcpStream,
        (turn, open): (Turn, &OpenPlaces),
        connection: &Connection,
    ) -> Result<(TlsStream<TcpStream>, Place), Ended> {
        let presented = connection.presented()?;
        let holder = if self.attest == AttestCallers::Uid {
            let admitted = turn.run(callers::admit_caller(caller, &presented)).await;
            let peer_id = None;
            Holder::Uid(admitted.map_err(|error| Ended::Handshake { error, peer_id })??)
        } else {
            drop(turn); // nothing is to be proved
            Holder::Source(Source::of(connection.peer().ip()))
        };
        let place = settle(open, holder)?;
        let remote = connection.connect(self.connect).await?;
        let tls = connection
            .handshake(&presented, self.handshake(remote))
            .await?;
        connection.verified(tls.get_ref().1.peer_certificates());
        Ok((tls, place))
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
