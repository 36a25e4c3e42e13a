//! The part of a sidecar that a simulation runs: the one of the program without its listeners, over
//! another network than the kernel's.

use std::sync::Arc;

use countersign_cli::{Exit, Failure};
use countersign_discovery::Stamp;
use countersign_model::{EntitlementId, Lifetime, Serial, SpiffeId};
use countersign_serve::wire::Dial;
use countersign_verify::TrustBundle;
use countersign_verify::tls::TrustCell;
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;
use crate::control::{Control, Parts};
use crate::entropy::Draws;
use crate::holdings::Holdings;
use crate::install::Installer;
use crate::proxy::identity::Served;
use crate::state::StateDir;

/// What a sidecar holds, to be looked at from outside.
#[derive(Clone, Debug)]
pub struct Held(Arc<Holdings>);

/// One entitlement, and the credential that is held for it.
#[derive(Clone, Debug)]
pub struct Right {
    /// The entitlement.
    pub entitlement: EntitlementId,
    /// The identity that it is to.
    pub spiffe_id: SpiffeId,
    /// What is held.
    pub credential: Option<Credential>,
}

/// One credential, without its key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The serial of the leaf.
    pub serial: Serial,
    /// From issue to NotAfter.
    pub lifetime: Lifetime,
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Held {
    /// Every entitlement, in order.
    pub fn rights(&self) -> Vec<Right> {
        let snapshot = self.0.load();
        let rights = snapshot.entries.values().map(|held| Right {
            entitlement: held.entitlement.id.clone(),
            spiffe_id: held.entitlement.spiffe_id.clone(),
            credential: held.svid.as_ref().map(|svid| Credential {
                serial: svid.serial,
                lifetime: svid.lifetime,
                chain: svid.chain.clone(),
            }),
        });
        rights.collect()
    }

    /// The state of the control plane that this is of.
    pub fn stamp(&self) -> Option<Stamp> {
        self.0.load().stamp
    }

    /// The trust bundle.
    pub fn bundle(&self) -> Option<Arc<TrustBundle>> {
        self.0.load().bundle.clone()
    }
}

/// Begins a sidecar on its state directory: what it holds, and its life, which ends where it is
/// dropped.
///
/// # Errors
/// A state directory that cannot be used.
pub fn begin(
    config: &Config,
    network: Arc<dyn Dial>,
) -> Result<(Held, impl Future<Output = ()> + Send + use<>), Failure> {
    let unusable = |error: &dyn std::error::Error| {
        Failure::new(Exit::Usage, "state_dir", error.to_string(), "mend it")
    };
    let state = StateDir::open(&config.state_dir).map_err(|error| unusable(&error))?;
    let (clock, holdings) = (Clock::of_system(), Holdings::new());
    let trust = TrustCell::new([].into_iter().collect());
    let trust_domain = config.trust_domain.clone();
    let installer = Installer::restore(trust_domain, state, holdings.clone(), trust.clone());
    let parts = Parts {
        installer: installer.map_err(|error| unusable(&error))?,
        holdings: holdings.clone(),
        consumers: Arc::default(),
        served: watch::channel(Served::new()).1,
        trust,
        metrics: Arc::default(),
        draws: Draws::of_system(),
        clock: clock.clone(),
        network,
    };
    let control = Control::new(config, parts, clock.now());
    Ok((Held(holdings), control.run()))
}
