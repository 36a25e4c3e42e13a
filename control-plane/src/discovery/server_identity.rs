//! The control plane's own identity on the sidecar API, and the bundle that it verifies by.
//!
//! Renewed at half of its lifetime and whenever the authorities changed; a failed renewal keeps
//! what is there and is tried again.

use std::sync::Arc;
use std::time::Duration;

use countersign_model::Lifetime;
use countersign_verify::BundleSet;
use countersign_verify::tls::{
    ClientAuth, IdentityCell, PeerRule, TrustCell, certified_key, server_config,
};
use rustls::ServerConfig;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::authority::{Authority, AuthorityError, Change};
use crate::clock::Clock;

/// How long after a failed renewal it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The longest a timer is set for.
const LONGEST_TIMER: Duration = Duration::from_secs(3_600);

/// What the TLS listener presents and trusts.
#[derive(Debug)]
pub(crate) struct ServerTls {
    authority: Arc<Authority>,
    clock: Clock,
    identity: Arc<IdentityCell>,
    trust: Arc<TrustCell>,
}

impl ServerTls {
    /// Nothing is presented before [`renew`](Self::renew).
    pub(crate) fn new(authority: Arc<Authority>, clock: Clock) -> Self {
        let trust = TrustCell::new(bundles(&authority));
        Self {
            authority,
            clock,
            identity: IdentityCell::empty(),
            trust,
        }
    }

    /// The configuration of the listener: any member may connect, and a node without a
    /// certificate may attest.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let rule = PeerRule::Member(self.authority.trust_domain().clone());
        server_config(
            self.identity.clone(),
            self.trust.clone(),
            rule,
            ClientAuth::Optional,
            &[b"h2"],
        )
    }

    /// Installs a fresh identity.
    ///
    /// # Errors
    /// The authority cannot issue now, or issued what does not load.
    pub(crate) async fn renew(&self) -> Result<Lifetime, AuthorityError> {
        let identity = self.authority.server_identity(self.clock.now()).await?;
        let key = certified_key(identity.chain, &identity.key)
            .map_err(|error| AuthorityError::Unavailable(error.to_string()))?;
        self.identity.install(key);
        Ok(identity.lifetime)
    }

    /// Keeps identity and bundle fresh. `changes` began before the first renewal.
    pub(crate) async fn keep(self, mut lifetime: Lifetime, mut changes: Receiver<Change>) {
        let mut retry = None;
        loop {
            let timer = retry.unwrap_or_else(|| self.until_half(&lifetime));
            let due = tokio::select! {
                () = tokio::time::sleep(timer) => {
                    retry.is_some() || self.until_half(&lifetime).is_zero()
                }
                change = changes.recv() => match change {
                    Ok(Change::Authorities) | Err(RecvError::Lagged(_)) => {
                        self.trust.install(bundles(&self.authority));
                        true
                    }
                    Ok(Change::Bundle) => {
                        self.trust.install(bundles(&self.authority));
                        false
                    }
                    Ok(_) => false,
                    Err(RecvError::Closed) => return,
                },
            };
            if due {
                retry = match self.renew().await {
                    Ok(renewed) => {
                        lifetime = renewed;
                        None
                    }
                    Err(error) => {
                        tracing::error!(error = %error, "own identity not renewed");
                        Some(RETRY)
                    }
                };
            }
        }
    }

    fn until_half(&self, lifetime: &Lifetime) -> Duration {
        let left = lifetime.remaining(self.clock.now());
        left.saturating_sub(lifetime.length() / 2)
            .min(LONGEST_TIMER)
    }
}

fn bundles(authority: &Authority) -> BundleSet {
    [authority.bundle().0].into_iter().collect()
}
