//! The control plane's own identity on the sidecar API, and the bundle that it verifies by.
//!
//! Renewed at half of its lifetime and whenever the authorities changed; a failed renewal keeps
//! what is there and is tried again.

use std::sync::Arc;
use std::time::Duration;

use countersign_authority::{Authority, AuthorityError};
use countersign_fleet::Event;
use countersign_model::{Lifetime, nap};
use countersign_refusal::Unavailable;
use countersign_verify::BundleSet;
use countersign_verify::tls::{
    ClientAuth, IdentityCell, PeerRule, TrustCell, certified_key, server_config,
};
use rustls::ServerConfig;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::clock::Clock;

/// How long after a failed renewal it is tried again.
const RETRY: Duration = Duration::from_secs(5);

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
        let now = clock.clone();
        let trust = TrustCell::with_clock(bundles(&authority), move || now.now());
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
        let key = certified_key(identity.chain, &identity.key).map_err(Unavailable::retry)?;
        self.identity.install(key);
        Ok(identity.lifetime)
    }

    /// Installs the first identity; none where nothing can be signed yet, for then handshakes fail
    /// until [`keep`](Self::keep) finds that it can.
    ///
    /// # Errors
    /// The authority cannot issue though nothing is in its way.
    pub(crate) async fn begin(&self) -> Result<Option<Lifetime>, AuthorityError> {
        match self.renew().await {
            Ok(lifetime) => Ok(Some(lifetime)),
            Err(error) => {
                let obstacles = self.authority.obstacles(self.clock.now());
                if obstacles.is_empty() {
                    return Err(error);
                }
                tracing::warn!(reason = obstacles.join("; "), "nobody is served yet");
                Ok(None)
            }
        }
    }

    /// Keeps identity and bundle fresh. `changes` began before the first renewal.
    pub(crate) async fn keep(self, mut lifetime: Option<Lifetime>, mut changes: Receiver<Event>) {
        let mut retry = lifetime.is_none().then_some(RETRY);
        loop {
            let timer = retry.unwrap_or_else(|| self.nap(lifetime.as_ref()));
            let due = tokio::select! {
                () = tokio::time::sleep(timer) => {
                    retry.is_some() || self.nap(lifetime.as_ref()).is_zero()
                }
                change = changes.recv() => match change {
                    Ok(Event::Authorities) | Err(RecvError::Lagged(_)) => {
                        self.trust.install(bundles(&self.authority));
                        true
                    }
                    Ok(Event::Bundle) => {
                        self.trust.install(bundles(&self.authority));
                        false
                    }
                    Ok(Event::ControlPlanes | Event::Entitlement(..) | Event::Svid(..) | Event::Evicted(_)) => false,
                    Err(RecvError::Closed) => return,
                },
            };
            if due {
                retry = match self.renew().await {
                    Ok(renewed) => {
                        lifetime = Some(renewed);
                        None
                    }
                    // What is in the way was told when it came.
                    Err(_) if lifetime.is_none() => Some(RETRY),
                    Err(error) => {
                        tracing::error!(error = %error, "own identity not renewed");
                        Some(RETRY)
                    }
                };
            }
        }
    }

    /// A nap on the way to half of the lifetime; zero once it is spent.
    fn nap(&self, lifetime: Option<&Lifetime>) -> Duration {
        let half = lifetime.map(|life| life.not_after.checked_sub(life.length() / 2));
        let half = half.and_then(Result::ok);
        half.map_or(Duration::ZERO, |half| nap(self.clock.now(), half))
    }
}

fn bundles(authority: &Authority) -> BundleSet {
    let bundle = authority.first_bundle().map(|(bundle, _)| bundle);
    bundle.into_iter().collect()
}
