//! mTLS in, plaintext out.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_serve::places::Place;
use countersign_serve::tls::{Metered, handshake};
use countersign_verify::tls::{ClientAuth, IdentityCell, PeerRule, TrustCell, server_config};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;

use super::callers::{self, Acceptance, CallerRefused};
use super::connection::{Connection, Ended, reset};
use super::entering::Handshaking;
use super::identity::Presented;
use crate::attest::socket_owner::{Listener, listener};
use crate::config::{AttestCallers, Inbound};

/// Where the connections of one inbound listener go.
#[derive(Debug)]
pub(super) struct InboundRoute {
    tls: Arc<ServerConfig>,
    forward: SocketAddr,
    waiting: Semaphore,
    pub(super) attest: AttestCallers,
}

impl InboundRoute {
    pub(super) fn new(
        listener: &Inbound,
        identity: &Arc<IdentityCell>,
        trust: &Arc<TrustCell>,
    ) -> Self {
        let allow = PeerRule::OneOf(listener.allow.iter().cloned().collect());
        Self {
            tls: server_config(
                Arc::clone(identity),
                Arc::clone(trust),
                allow,
                ClientAuth::Required,
                &[],
            ),
            forward: listener.forward,
            waiting: Semaphore::new(callers::MAX_WAITING),
            attest: listener.attest_callers,
        }
    }

    /// Forwards what a peer sends that was admitted. What led there takes no room afterwards.
    pub(super) async fn carry(
        &self,
        entering: Handshaking,
        connection: &Connection,
    ) -> Result<(), Ended> {
        let (workload, tls, _place) = Box::pin(self.admit(entering, connection)).await?;
        connection.carry(workload, tls).await
    }

    /// Verify, then allow list (both in the handshake), then a place, then the workload.
    async fn admit(
        &self,
        entering: Handshaking,
        connection: &Connection,
    ) -> Result<(TcpStream, TlsStream<Metered>, Place), Ended> {
        let Handshaking { stream, turn, open } = entering;
        let presented = connection.presented().inspect_err(|_| reset(&stream))?;
        let accepting = handshake(stream, Arc::clone(&self.tls), turn);
        let tls = connection.handshake(&presented, accepting).await?;
        let peer = connection.verified(tls.get_ref().1.peer_certificates());
        let place = open.settle(peer)?;
        let admitting = self.workload(connection, &presented, tls.get_ref().0.tcp());
        let workload = connection.while_right(admitting).await??;
        Ok((workload, tls, place))
    }

    /// A connection to the workload, whose process may have what is sent to this identity.
    async fn workload(
        &self,
        connection: &Connection,
        presented: &Presented,
        peer: &TcpStream,
    ) -> Result<TcpStream, Ended> {
        let workload = connection.connect(self.forward).await?;
        if self.attest == AttestCallers::Netns {
            return Ok(workload);
        }
        let waiting = &self.waiting;
        match callers::admit_workload(&workload, presented, peer, waiting).await? {
            Acceptance::Accepted => return Ok(workload),
            // The listener then forgets it, and nobody ever accepts it.
            Acceptance::Deferred => reset(&workload),
        }
        drop(workload);
        // Where nobody accepts before there are bytes, who listens must do: one listener that is
        // there before and after we connect is the one that we are connected to.
        let before = self.admitted_listener(presented).await?;
        let workload = connection.connect(self.forward).await?;
        match callers::admit_workload(&workload, presented, peer, waiting).await? {
            Acceptance::Accepted => Ok(workload),
            Acceptance::Deferred if self.admitted_listener(presented).await?.is(&before) => {
                Ok(workload)
            }
            Acceptance::Deferred => Err(CallerRefused::Replaced.into()),
        }
    }

    async fn admitted_listener(&self, presented: &Presented) -> Result<Listener, CallerRefused> {
        callers::admit_listener(listener(self.forward).await?, presented)
    }
}
