//! The part of a sidecar that a simulation runs: the one of the program without proxy and status, over
//! another network than the kernel's, with callers that come from elsewhere than its socket.

use std::sync::Arc;

use countersign_cli::{Exit, Failure};
use countersign_discovery::Stamp;
use countersign_model::{EntitlementId, Lifetime, Serial, SpiffeId};
use countersign_serve::unix::UnixPeer;
use countersign_serve::wire::Dial;
use countersign_verify::TrustBundle;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_stream::Stream;

use crate::clock::Clock;
use crate::config::Config;
use crate::consumers::Consumers;
use crate::consumers::kept::{self, CONSUMERS_FILE};
use crate::control::recognition::trust_by;
use crate::control::{Control, Parts};
use crate::entropy::Draws;
use crate::holdings::{Holdings, endings};
use crate::install::Installer;
use crate::local_api::LocalApi;
use crate::local_socket::LocalSocket;
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
    /// Rises with every change of what is held.
    pub fn generation(&self) -> u64 {
        self.0.load().generation
    }

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

/// What a sidecar has of its machine.
#[derive(Debug)]
pub struct Machine<C, N> {
    /// What its clock shows.
    pub clock: N,
    /// How it reaches control planes.
    pub network: Arc<dyn Dial>,
    /// Who connects to its socket.
    pub callers: C,
}

/// Begins a sidecar on its state directory: what it holds, and its life, which ends where it is
/// dropped.
///
/// # Errors
/// A state directory that cannot be used.
pub fn begin<S, C, N>(
    config: &Config,
    machine: Machine<C, N>,
) -> Result<(Held, impl Future<Output = ()> + Send + use<S, C, N>), Failure>
where
    N: Fn() -> Timestamp + Send + Sync + 'static,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: Stream<Item = (S, UnixPeer)> + Send + 'static,
{
    let unusable = |error: &dyn std::error::Error| {
        Failure::new(Exit::Usage, "state_dir", error.to_string(), "mend it")
    };
    let state = StateDir::open(&config.state_dir).map_err(|error| unusable(&error))?;
    let (clock, holdings) = (Clock::new(machine.clock), Holdings::new());
    let consumers = Arc::<Consumers>::default();
    let consumers_file = state.file(CONSUMERS_FILE);
    kept::restore(&consumers_file, &consumers, clock.now());
    let keeping = kept::keep(consumers_file, consumers.clone());
    let trust = trust_by(&clock);
    let trust_domain = config.trust_domain.clone();
    let local_api = LocalApi::new(
        holdings.clone(),
        consumers.clone(),
        &trust_domain,
        clock.clone(),
    );
    let installer = Installer::restore(trust_domain, state, holdings.clone(), trust.clone());
    let parts = Parts {
        installer: installer.map_err(|error| unusable(&error))?,
        holdings: holdings.clone(),
        consumers,
        served: watch::channel(Served::new()).1,
        trust,
        metrics: Arc::default(),
        draws: Draws::of_system(),
        clock: clock.clone(),
        network: machine.network,
    };
    let control = Control::new(config, parts, clock.now()).run();
    let callers = LocalSocket::new(local_api).serve_callers(machine.callers);
    let ends = endings::tell(holdings.clone(), clock);
    let life = async {
        tokio::join!(control, callers, ends, keeping);
    };
    Ok((Held(holdings), life))
}
