//! The connection to the control plane: dial, attest where there is no credential yet, then one
//! discovery stream for everything, and again with a jittered backoff when it breaks.
//!
//! What is held outlives the connection. While it is gone everything keeps being served, and a
//! stream that comes back with unchanged content brings nothing.

pub(crate) mod addresses;
mod broken;
mod choice;
mod departure;
pub(crate) mod dial;
pub(crate) mod enrol;
mod error;
mod failover;
pub(crate) mod link_state;
mod observed;
mod patience;
mod race;
pub(crate) mod recognition;
mod report;
pub(crate) mod session;
mod silence;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_discovery::DeltaClient;
use countersign_model::address::HttpsAddress;
use countersign_model::{EntitlementId, TrustDomain};
use countersign_proto::mesh::Hello;
use countersign_serve::wire::Dial;
use countersign_verify::tls::TrustCell;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::addresses::Addresses;
use self::departure::departure;
use self::enrol::EnrolError;
use self::error::ControlError;
use self::link_state::{LinkState, UnreachedAddress};
use self::session::{Finished, Moved, Session, SessionError};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::Config;
use crate::consumers::Consumers;
use crate::entropy::Draws;
use crate::evidence::Method;
use crate::evidence::node_svid::{self, Unproven};
use crate::holdings::Holdings;
use crate::identity::clock_skew::ClockSkew;
use crate::identity::renew::{FIRST_KEY_EPOCH, Renewals};
use crate::install::{Installer, KINDS};
use crate::proxy::identity::Served;
use crate::telemetry::{Departure, Metrics};

/// Why the address before is not in use any more, where nothing was wrong with it.
const RENEWED: &str =
    "nothing failed: the credential was renewed, and a connection made with the new one";
const REBALANCED: &str = "nothing failed: another control plane has fewer streams";

/// The parts of the sidecar that the control task works with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Verifies and publishes.
    pub(crate) installer: Installer,
    /// What is held.
    pub(crate) holdings: Arc<Holdings>,
    /// Who consumes it.
    pub(crate) consumers: Arc<Consumers>,
    /// What our own handshakes served.
    pub(crate) served: watch::Receiver<Served>,
    /// What handshakes are judged by.
    pub(crate) trust: Arc<TrustCell>,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
    /// The wall clock.
    pub(crate) clock: Clock,
    /// What waits are spread by.
    pub(crate) draws: Draws,
    /// What the control plane is reached by.
    pub(crate) network: Arc<dyn Dial>,
}

/// The control task.
#[derive(Debug)]
pub(crate) struct Control {
    trust_domain: TrustDomain,
    addresses: Addresses,
    /// The operator's bundle.
    bundle_file: Option<PathBuf>,
    attestation: Arc<dyn Method>,
    enrol_ahead: usize,
    installer: Installer,
    renewals: Renewals,
    client: DeltaClient,
    holdings: Arc<Holdings>,
    consumers: Arc<Consumers>,
    served: watch::Receiver<Served>,
    trust: Arc<TrustCell>,
    metrics: Arc<Metrics>,
    clock: Clock,
    draws: Draws,
    backoff: Backoff,
    /// Our credential was not recognised at an address of this round.
    was_unrecognised: bool,
    /// Nor at any other: it is not tried again before an attestation was.
    is_unrecognised: bool,
    saving: Backoff,
    /// When what is not on disk is tried again.
    save_at: Option<Instant>,
    /// When the newest stream opened, until its end was judged.
    opened_at: Option<Instant>,
    /// Where the newest connection leads, until its end was judged.
    reached: Option<ReachedAddress>,
    /// Where the one before it led, and why it ended.
    left: Option<(String, Departure)>,
    /// A stream at another address, which was opened before this one was left.
    moved: Option<Box<Moved>>,
    /// When a control plane's wish was followed last.
    moved_at: Option<Instant>,
    /// Whether the control plane was recognised by the configured bundle, not by the stored one.
    by_configured: bool,
    state: watch::Sender<LinkState>,
}

/// Where a connection leads.
#[derive(Clone, Debug)]
struct ReachedAddress {
    /// As it is known.
    uri: HttpsAddress,
    /// As it is shown.
    address: String,
    /// What was not reached before it.
    unreached: Vec<UnreachedAddress>,
}

impl Control {
    /// Takes up what survived a restart.
    pub(crate) fn new(config: &Config, mut parts: Parts, now: Timestamp) -> Self {
        let client = subscribed(&parts.installer);
        let mut renewals = Renewals::default();
        if let Some(node) = parts.installer.node() {
            renewals.restored(&EntitlementId::node(), node.key_epoch);
        }
        let configured = config.control_plane.addresses.clone();
        let addresses = Addresses::new(configured, || parts.draws.next());
        let mut addresses = addresses.over(parts.network);
        addresses.told(parts.installer.addresses(), || parts.draws.next());
        Self {
            trust_domain: config.trust_domain.clone(),
            addresses,
            bundle_file: config.control_plane.bundle.clone(),
            attestation: Arc::clone(&config.attestation),
            enrol_ahead: config.workload_api.enrol_ahead,
            installer: parts.installer,
            renewals,
            client,
            holdings: parts.holdings,
            consumers: parts.consumers,
            served: parts.served,
            trust: parts.trust,
            metrics: parts.metrics,
            clock: parts.clock,
            draws: parts.draws,
            backoff: Backoff::default(),
            was_unrecognised: false,
            is_unrecognised: false,
            saving: Backoff::default(),
            save_at: None,
            opened_at: None,
            reached: None,
            left: None,
            moved: None,
            moved_at: None,
            by_configured: false,
            state: watch::channel(LinkState::starting(now)).0,
        }
    }

    /// How the connection stands, and every change of it.
    pub(crate) fn state(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Keeps the connection, until dropped. Nothing makes it give up.
    pub(crate) async fn run(mut self) {
        loop {
            match Box::pin(self.connect_once()).await {
                Ok(Finished::Redial) => {
                    tracing::debug!("replacing the connection");
                    self.leave(Departure::Renewed, RENEWED.to_owned());
                }
                Ok(Finished::Moved(moved, Departure::Silent)) => {
                    self.leave_silent(Instant::now());
                    self.moved = Some(moved);
                }
                Ok(Finished::Moved(moved, reason)) => {
                    self.leave(reason, REBALANCED.to_owned());
                    self.moved = Some(moved);
                }
                Err(error) => {
                    self.leave(departure(&error), error.to_string());
                    let wait = self.wait_after(&error, Instant::now());
                    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(%error, wait_ms, "control plane not connected");
                    self.metrics.connected(false);
                    let (problem, unreached) = (error.to_string(), error.unreached());
                    let is_older = matches!(error, ControlError::Session(SessionError::Older(_)));
                    let now = self.clock.now();
                    self.state.send_modify(|link| {
                        link.failed(problem, unreached, now);
                        link.is_older = is_older;
                    });
                    self.pause(wait).await;
                }
            }
        }
    }

    /// What is said first: what was seen of the control plane, and the newest certificate, which
    /// proves it.
    fn hello(&self) -> Hello {
        let seen = self.client.seen();
        let snapshot = self.holdings.load();
        let held = { snapshot.entries.values() }.filter_map(|held| held.svid.as_ref());
        let newest = held.max_by_key(|svid| svid.lifetime.issued_at);
        let chain = newest.map(|svid| svid.chain.iter().map(|der| der.to_vec()).collect());
        Hello {
            epoch: seen.epoch,
            sequence: seen.sequence,
            newest_chain: chain.unwrap_or_default(),
            enrol_ahead: u32::try_from(self.enrol_ahead).ok(),
            ..enrol::hello()
        }
    }

    async fn connect_once(&mut self) -> Result<Finished, ControlError> {
        let (over, opened) = match self.moved.take() {
            Some(moved) => (moved.link().clone(), self.arrived(*moved)),
            None => {
                self.ensure_credential(self.clock.now()).await?;
                let identity = Arc::clone(self.installer.node_identity());
                let link = self.dial(Some(identity)).await?;
                (link.clone(), Session::open(self, link).await)
            }
        };
        let ended = match opened {
            Ok(session) => session.run().await,
            Err(error) => Err(error),
        };
        Ok(ended.map_err(|error| error.over(&over))?)
    }

    /// Waits. What is not on disk yet is written meanwhile, when the disk takes it.
    async fn pause(&mut self, wait: Duration) {
        let end = Instant::now() + wait;
        loop {
            match self
                .save_when_due(Instant::now())
                .filter(|again| *again < end)
            {
                Some(again) => sleep_until(again).await,
                None => return sleep_until(end).await,
            }
        }
    }

    /// Writes what is not on disk yet, where it is time; when it is to be tried again.
    fn save_when_due(&mut self, now: Instant) -> Option<Instant> {
        let addresses_at = self.installer.keep_addresses(now);
        let save_at = self.save_unsaved(now);
        save_at.into_iter().chain(addresses_at).min()
    }

    /// What must survive a restart.
    fn save_unsaved(&mut self, now: Instant) -> Option<Instant> {
        if self.installer.is_unsaved() && self.save_at.is_some_and(|at| at <= now) {
            self.save_at = None;
            self.installer.save();
        }
        if !self.installer.is_unsaved() {
            self.saving.succeed();
            self.save_at = None;
        } else if self.save_at.is_none() {
            // Nobody else waits for this disk: nothing is drawn.
            self.save_at = Some(now + self.saving.fail(1.0));
        }
        self.save_at
    }

    /// A credential that is not recognised is tried again as well, in turn: it is never given up
    /// for an attestation that fails.
    async fn ensure_credential(&mut self, now: Timestamp) -> Result<(), ControlError> {
        let is_recognised = !std::mem::take(&mut self.is_unrecognised);
        let Err(unproven) = node_svid::check(self.installer.node(), is_recognised, now) else {
            return Ok(());
        };
        self.attest()
            .await
            .map_err(|error| match (error, unproven) {
                (ControlError::Attest(source), Unproven::Expired(expired)) => {
                    ControlError::Expired { expired, source }
                }
                (ControlError::Attest(source), Unproven::Unrecognised) => {
                    let remedy = self.attestation.remedy();
                    ControlError::Unrecognised { source, remedy }
                }
                (error, _) => error,
            })
    }

    async fn attest(&mut self) -> Result<(), ControlError> {
        let evidence = self.attestation.gather().map_err(EnrolError::from)?;
        let attempt = self.installer.attempt(&evidence.bound_to);
        let key = attempt.map_err(|source| ControlError::Attempt {
            evidence: self.attestation.name(),
            source,
        })?;
        let link = self.dial(None).await?;
        let attested = enrol::attest(&link, &self.trust_domain, evidence.message, &key).await?;
        self.installer.attested_bundle(attested.bundle)?;
        let (node_id, now) = (attested.node_id, self.clock.now());
        self.installer
            .attested(&node_id, attested.chain, (&key, attested.issued_at), now)?;
        self.renewals
            .installed(&EntitlementId::node(), FIRST_KEY_EPOCH, now);
        tracing::info!(%node_id, "node attested");
        Ok(())
    }
}

impl Control {
    /// Says it once when the clocks begin, or cease, to disagree.
    fn tell_of_clock(&self, skew: Option<ClockSkew>) {
        let compare = |link: &mut LinkState| link.compared_clocks(skew);
        if !self.state.send_if_modified(compare) {
            return;
        }
        self.metrics.clocks(skew);
        match skew {
            Some(skew) => tracing::warn!(reason = %skew, "clocks disagree"),
            None => tracing::info!("clocks agree again"),
        }
    }
}

/// A client that asks for what is asked for from the start.
fn subscribed(installer: &Installer) -> DeltaClient {
    let mut client = DeltaClient::new();
    for kind in KINDS {
        let Some(wanted) = kind.wanted(installer) else {
            continue;
        };
        if let Some(version) = wanted.held {
            client.hold(kind.type_url(), &wanted.name, &version);
        }
        // Nothing is open yet: the requests are made again for each stream.
        let _ = client.subscribe(kind.type_url(), &wanted.name);
    }
    client
}

#[cfg(test)]
mod tests;
