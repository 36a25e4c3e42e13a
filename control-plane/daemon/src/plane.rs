//! What every service of the running control plane shares.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_admission::{Caller, Gate};
use countersign_attest::refusals::{Refusals, Showing};
use countersign_authority::{Authority, AuthorityError, AuthorityInfo, SlotState, Tiers};
use countersign_fleet::gate::Consumer;
use countersign_fleet::rotation::{Rotation, Sighting, Succession};
use countersign_fleet::{Consumers, Fleet, Hub, elsewhere, streams};
use countersign_model::{EntitlementId, Serial, SpiffeId};
use countersign_refusal::Denied;
use countersign_serve::source::Source;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::spread::Spread;
use crate::telemetry::Metrics;

/// Most names where it is told whom a rotation waits for: one node may report thousands.
pub(crate) const MAX_NAMED: usize = 256;

/// Whom a rotation waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The first of them, by name.
    pub first: Vec<Laggard>,
    /// How many there are beside.
    pub more: u64,
}

/// One whom a rotation waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Laggard {
    pub name: String,
    pub connected: bool,
    /// The control plane that told of it, where that is another one.
    pub replica: Option<String>,
    /// It is waited for no longer than this; `None` while its stream is open here.
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// As many as are told at once.
    pub(crate) fn of(mut all: Vec<Laggard>) -> Self {
        let more = all.len().saturating_sub(MAX_NAMED) as u64;
        all.truncate(MAX_NAMED);
        Self { first: all, more }
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.first.iter().map(|it| it.name.clone()).collect()
    }
}

impl From<Consumer> for Laggard {
    fn from(it: Consumer) -> Self {
        Self {
            until: it
                .credential_not_after
                .filter(|_| !it.connected || it.replica.is_some()),
            connected: it.connected,
            replica: it.replica,
            name: it.name,
        }
    }
}

/// The running control plane, as its services see it.
#[derive(Debug)]
pub(crate) struct Plane {
    /// Everything that can change.
    pub authority: Arc<Authority>,
    /// Who may have something signed now.
    pub signing: Arc<Gate<Caller>>,
    /// Who may attest now.
    pub attesting: Arc<Gate<Source>>,
    /// The open discovery streams.
    pub hub: Arc<Hub>,
    /// What sidecars are told of other control planes.
    pub spread: Spread,
    /// What the nodes told.
    pub fleet: Fleet,
    /// The course of the newest rotation of the root.
    pub rotation: Rotation,
    /// The newest attestations that were refused.
    pub refusals: Mutex<Refusals<Source>>,
    /// What is counted.
    pub metrics: Metrics,
    /// Where `now` comes from.
    pub clock: Clock,
    /// When this process started.
    pub started_at: Timestamp,
    /// Where the sidecar API listens.
    pub api_address: SocketAddr,
    /// Where probes and metrics are served.
    pub telemetry_address: SocketAddr,
    /// Cancelled when the process shall end.
    pub stopping: CancellationToken,
    /// Cancelled when this one of several takes no part any more.
    pub out: CancellationToken,
    /// Every task that must end before the process does.
    pub tasks: TaskTracker,
}

impl Plane {
    /// A caller at this address was not attested, or not recognised.
    pub(crate) fn note_refused(&self, address: IpAddr, showing: Showing, denied: &Denied) {
        let (address, now) = (address.to_canonical(), self.clock.now());
        let caller = (Source::of(address), address);
        self.refusals().note(caller, showing, denied, now);
    }

    /// Whom was refused an attestation lately.
    pub(crate) fn refusals(&self) -> MutexGuard<'_, Refusals<Source>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live consumers that do not have the newest bundle, as many as are told at once.
    pub(crate) fn waiting_for(&self) -> Waiting {
        let laggards = self.laggards().into_iter();
        Waiting::of(laggards.map(Laggard::from).collect())
    }

    /// All of them, with what is known of each.
    pub(crate) fn laggards(&self) -> Vec<Consumer> {
        let Some((bundle, _)) = self.authority.first_bundle() else {
            return Vec::new();
        };
        let now = self.clock.now();
        let waived = self.authority.waived(now);
        let consumers = self.consumers(bundle.version());
        consumers.laggards(bundle.version(), &waived, now)
    }

    /// Activates the prepared root, if there is one and everybody has its bundle.
    ///
    /// # Errors
    /// The bundle changed meanwhile; the store or a key is unavailable.
    pub(crate) async fn activate_if_open(&self) -> Result<Option<AuthorityInfo>, AuthorityError> {
        let Some((bundle, _)) = self.authority.first_bundle() else {
            return Ok(None);
        };
        let now = self.clock.now();
        let Some(prepared) = self.authority.prepared_root() else {
            return Ok(None);
        };
        let consumers = self.consumers(bundle.version());
        let waived = self.authority.waived(now);
        let succession = self.succession(&prepared, bundle.version());
        self.rotation
            .watch(&succession, consumers.all(), &waived, now);
        let gate = consumers.gate(bundle.version(), &waived, now);
        // Who does not hear of the others does not know who lives.
        let is_due = prepared.not_before <= now
            && self.authority.can_activate()
            && self.authority.is_writable();
        let Some(gate) = gate.ok().filter(|_| is_due) else {
            return Ok(None);
        };
        let activated = self.authority.activate_root(gate, now).await?;
        self.rotation.activated(&activated.key_id, self.clock.now());
        Ok(Some(activated))
    }

    /// A serial was seen in a handshake: where it belongs in the newest rotation of the root. A
    /// certificate that was replaced since tells nothing: under which root it was is not known here.
    pub(crate) fn note_seen(&self, node: &SpiffeId, entitlement: &EntitlementId, serial: Serial) {
        if !self.rotation.is_watched() {
            return;
        }
        let svid = self.authority.published(node, entitlement);
        let Some(svid) = svid.filter(|svid| svid.serial == serial) else {
            return;
        };
        let Some(root) = root_above(&svid.chain(), &self.authority.tiers()) else {
            return;
        };
        let sighting = Sighting {
            at: self.clock.now(),
            id: svid.id.clone(),
            serial,
            root,
        };
        self.rotation.seen(node, sighting);
    }

    fn succession(&self, prepared: &AuthorityInfo, bundle_version: &str) -> Succession {
        let roots = self.authority.tiers().roots;
        let active = roots.into_iter().find(|it| it.state == SlotState::Active);
        Succession {
            old_root: active.map(|root| root.key_id),
            new_root: prepared.key_id.clone(),
            bundle_version: bundle_version.to_owned(),
        }
    }

    /// Tells the other control planes, while a root is prepared, who of the nodes that are here has its
    /// bundle: what changed since the last time, or a part of it.
    ///
    /// # Errors
    /// The store is unavailable.
    pub(crate) async fn tell_acknowledged(&self) -> Result<(), AuthorityError> {
        let authority = &self.authority;
        if !authority.is_shared() || authority.prepared_root().is_none() {
            return Ok(());
        }
        let (bundle, _) = authority.bundle();
        let rows = elsewhere::due(
            &authority.nodes(),
            (&self.hub, &self.fleet),
            (authority.replica_name(), bundle.version()),
            |node| authority.acknowledged(node),
            self.clock.now(),
        );
        match rows.is_empty() {
            true => Ok(()),
            false => authority.tell_acknowledged(rows).await,
        }
    }

    /// Tells the other control planes which streams opened or ended here since the last time, or a part of it.
    ///
    /// # Errors
    /// The store is unavailable, or another control plane told of one of them meanwhile: what was to be told is
    /// judged anew the next time.
    pub(crate) async fn tell_streams(&self) -> Result<(), AuthorityError> {
        let authority = &self.authority;
        // What waits for the level is told once it is raised: of each node the newest.
        if authority.replica_name().is_empty() || !authority.may_tell_streams() {
            return Ok(());
        }
        let rows = streams::due(
            (&self.hub, &self.fleet),
            authority.replica_name(),
            |node| authority.stream_row(node),
            self.clock.now(),
        );
        if rows.is_empty() {
            return Ok(());
        }
        let nodes: Vec<_> = rows.iter().map(|it| it.node.clone()).collect();
        let told = authority.tell_streams(rows).await;
        told.inspect_err(|_| self.fleet.moved_again(nodes))
    }

    fn consumers(&self, bundle_version: &str) -> Consumers {
        let authority = &self.authority;
        Consumers::take(&authority.nodes(), (&self.hub, &self.fleet), |node| {
            authority.acknowledged_elsewhere(node, bundle_version)
        })
    }
}

/// Key identifier of the root that issued the topmost CA of a chain.
fn root_above(chain: &[CertificateDer<'_>], tiers: &Tiers) -> Option<String> {
    let top = chain.last()?;
    let mut cas = tiers.intermediates.iter().chain(&tiers.issuing);
    Some(cas.find(|ca| ca.certificate == *top)?.issued_by.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_counted() {
        let laggard = |n: usize| Laggard {
            name: n.to_string(),
            connected: true,
            replica: None,
            until: None,
        };
        let all = |count: usize| (0..count).map(laggard).collect();
        assert_eq!(Waiting::of(all(MAX_NAMED)).more, 0);
        let many = Waiting::of(all(MAX_NAMED + 7));
        assert_eq!((many.names().len(), many.more), (MAX_NAMED, 7));
    }
}
