//! mTLS in, plaintext out.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_serve::tls::handshake;
use countersign_serve::turnstile::Turnstile;
use countersign_verify::tls::{ClientAuth, IdentityCell, PeerRule, TrustCell, server_config};
use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::connection::{Connection, Ended};
use super::identity::Presented;
use super::{callers, copy};
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
        let presented = connection.presented()?;
        let accepting = handshake(stream, Arc::clone(&self.tls));
        let accepting = self.turnstile.pass(accepting);
        let tls = connection.handshake(&presented, accepting).await?;
        connection.verified(tls.get_ref().1.peer_certificates());
        self.admit_listener(&presented).await?;
        let workload = connection.connect(self.forward).await?;
        // Again, because the listener can have been replaced in between.
        self.admit_listener(&presented).await?;
        connection.carry(copy::both_ways(tls, workload)).await
    }

    async fn admit_listener(&self, presented: &Presented) -> Result<(), Ended> {
        if self.attest == AttestCallers::Uid {
            callers::admit_listener(self.forward, presented).await?;
        }
        Ok(())
    }
}
