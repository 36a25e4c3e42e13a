//! mTLS in, plaintext out.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_serve::tls::handshake;
use countersign_serve::turnstile::Turnstile;
use countersign_verify::tls::{ClientAuth, IdentityCell, PeerRule, TrustCell, server_config};
use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::callers::{self, CallerRefused, Taken};
use super::connection::{Connection, Ended, reset};
use super::identity::Presented;
use crate::attest::socket_owner::{Listener, listener};
use crate::config::{AttestCallers, Inbound};

/// Where the connections of one inbound listener go.
#[derive(Debug)]
pub(super) struct InboundRoute {
    tls: Arc<ServerConfig>,
    turnstile: Turnstile,
    forward: SocketAddr,
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
            turnstile: Turnstile::default(),
            forward: listener.forward,
            attest: listener.attest_callers,
        }
    }

    /// Verify, then allow list (both in the handshake), then forward.
    pub(super) async fn carry(
        &self,
        stream: TcpStream,
        connection: &Connection,
    ) -> Result<(), Ended> {
        let presented = connection.presented().inspect_err(|_| reset(&stream))?;
        let turn = self.turnstile.enter(connection.peer().ip());
        let accepting = turn.pass(handshake(stream, Arc::clone(&self.tls)));
        let tls = connection.handshake(&presented, accepting).await?;
        connection.verified(tls.get_ref().1.peer_certificates());
        let workload = self.workload(connection, &presented).await?;
        connection.carry(workload, tls).await
    }

    /// A connection to the workload, whose process may have what is sent to this identity.
    async fn workload(
        &self,
        connection: &Connection,
        presented: &Presented,
    ) -> Result<TcpStream, Ended> {
        let workload = connection.connect(self.forward).await?;
        if self.attest == AttestCallers::Netns {
            return Ok(workload);
        }
        match callers::admit_workload(&workload, presented).await? {
            Taken::Accepted => Ok(workload),
            Taken::Deferred => {
                // The listener then forgets it, and nobody ever accepts it.
                reset(&workload);
                drop(workload);
                self.deferring_workload(connection, presented).await
            }
        }
    }

    /// Where nobody accepts before there are bytes, who listens must do: one listener that is there
    /// before and after we connect is the one that we are connected to.
    async fn deferring_workload(
        &self,
        connection: &Connection,
        presented: &Presented,
    ) -> Result<TcpStream, Ended> {
        let before = self.admitted_listener(presented).await?;
        let workload = connection.connect(self.forward).await?;
        if self.admitted_listener(presented).await? == before {
            Ok(workload)
        } else {
            Err(CallerRefused::Replaced.into())
        }
    }

    async fn admitted_listener(&self, presented: &Presented) -> Result<Listener, CallerRefused> {
        callers::admit_listener(listener(self.forward).await?, presented)
    }
}
