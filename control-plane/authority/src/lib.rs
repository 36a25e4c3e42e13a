//! The authority: everything that can change, behind one façade.
//!
//! Every write goes through here, is durable in the store before it is seen, and is announced as
//! an [`Event`]. Reads are lock-light snapshots. `now` is passed in everywhere.

mod attesting;
mod backing_up;
mod cas;
mod clock_check;
mod disk;
mod doubts;
mod errors;
mod evicting;
mod hierarchy;
mod identity;
mod importing;
mod inquiry;
mod issuing;
mod key_uses;
mod listing;
mod log_keeping;
mod opening;
mod published;
mod put_back;
mod reason;
mod record;
mod refusals;
mod refused_keys;
mod registrations;
mod removal;
mod restoring;
mod rotation;
mod scratch;
pub mod series;
mod snapshot;
mod state;
mod stored_cas;
mod succession;
mod tokens;
mod undelivered;
mod unfinished;
mod unmaking;
mod upkeep;
mod values;
mod waiving;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

use arc_swap::ArcSwapOption;
pub use countersign_attest::{AttestedNode, ProvenKey};
pub use countersign_ca::key::{Condition, StoreKind, StoreState};
use countersign_ca::log::Log;
pub use countersign_ca::slots::SlotState;
use countersign_discovery::Stamp;
use countersign_fleet::{Event, Hub, NodeRecord};
pub use countersign_issue::profile::ProfileTimes;
pub use countersign_keys::Pkcs11Settings;
use countersign_keys::Stores;
use countersign_model::{Entitlement, EntitlementId, Seq, SpiffeId, TrustDomain};
pub use countersign_registry::Policy;
use countersign_store::{DataDir, Store};
use countersign_verify::TrustBundle;
use tokio::sync::broadcast;

pub use backing_up::BackedUp;
use cas::Cas;
use countersign_inventory::Inventory;
use countersign_restore::facts::Predecessor;
use doubts::Doubts;
pub use evicting::{Evicted, Eviction};
pub use issuing::ManualCertificate;
use issuing::Stripes;
pub use listing::ListedNode;
pub use log_keeping::Retention;
pub use published::PublishedSvid;
pub use reason::{Act, Reason};
use record::Unvoided;
use refusals::Refusals;
use refused_keys::Refused;
use series::Issuance;
use state::State;
pub use state::Waiver;
use unmaking::Undestroyed;
pub use values::{
    AuthorityError, AuthorityInfo, CaRequest, Hierarchy, RegistrationRequest, Removed,
    ServerIdentity, Settings, Tiers,
};
pub use waiving::ABSENT;

/// How many changes of the CAs a receiver may be behind before it must read everything again.
const CHANGES: usize = 64;

/// The façade. Reads are here; writes are in one file a topic.
#[derive(Debug)]
pub struct Authority {
    /// Itself, for writes that outlive their caller.
    this: Weak<Self>,
    settings: Settings,
    epoch: u64,
    sequence: AtomicU64,
    state: RwLock<State>,
    cas: RwLock<Cas>,
    bundle: ArcSwapOption<(Arc<TrustBundle>, u64)>,
    store: Arc<Store>,
    log: Log,
    keys: Stores,
    /// What tells that this state was put back from a copy.
    doubts: RwLock<Doubts>,
    /// Whether it was said that a CA is not valid yet by the clock.
    clock_is_told: AtomicBool,
    /// The intermediate whose end was spoken of last.
    reminded_of: Mutex<Option<String>>,
    /// One write of registrations, tokens or CAs at a time; enrolments do not wait for it.
    writing: tokio::sync::Mutex<()>,
    /// One enrolment of an entitlement at a time.
    enrolling: Stripes,
    /// The open streams, which are told of every change.
    hub: Arc<Hub>,
    changes: broadcast::Sender<Event>,
    inventory: RwLock<Inventory>,
    refusals: Mutex<Refusals>,
    /// Size of the log when the inventory was last written down.
    settled: AtomicU64,
    /// How many entries of the log commits account for.
    accounted: AtomicU64,
    /// Entries of changes that were not made and of certificates that nobody was given, which are
    /// not voided yet.
    unvoided: Mutex<Unvoided>,
    /// Keys that may not sign and that their stores did not destroy yet.
    undestroyed: Mutex<Undestroyed>,
    /// One `voided` entry at a time.
    voiding: tokio::sync::Mutex<()>,
    metrics: Issuance,
    /// Keys that no caller may have certified.
    refused_keys: Refused,
    /// Where a restore took the state from.
    predecessor: Option<Predecessor>,
    /// One backup at a time.
    backing_up: tokio::sync::Mutex<()>,
    data_dir: DataDir,
}

impl Authority {
    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.settings.trust_domain
    }

    /// The state that reads are answered from.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            epoch: self.epoch,
            sequence: self.sequence.load(Ordering::Acquire),
        }
    }

    /// What is counted where certificates are made.
    pub fn metrics(&self) -> &Issuance {
        &self.metrics
    }

    /// The open streams.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Changes of the bundle and the CAs from now on. A receiver that lags must read everything
    /// again.
    pub fn changes(&self) -> broadcast::Receiver<Event> {
        self.changes.subscribe()
    }

    /// The key stores.
    pub fn keys(&self) -> &Stores {
        &self.keys
    }

    /// The trust bundle and its sequence, for those who are served: nobody is before there is one.
    pub fn bundle(&self) -> (Arc<TrustBundle>, u64) {
        let bundle = self.first_bundle();
        bundle.expect("nothing is served before the first bundle")
    }

    /// The trust bundle and its sequence, once there is one: before a root that is not ours was
    /// imported there is none.
    pub fn first_bundle(&self) -> Option<(Arc<TrustBundle>, u64)> {
        let installed = self.bundle.load_full()?;
        let (bundle, sequence) = &*installed;
        Some((bundle.clone(), *sequence))
    }

    /// What a node may hold, its own identity included.
    pub fn entitlements(&self, node: &SpiffeId) -> Vec<Arc<Entitlement>> {
        self.read().entitlements(node)
    }

    /// One of the entitlements of a node.
    pub fn entitlement(
        &self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
    ) -> Option<Arc<Entitlement>> {
        self.read().entitlement(node, entitlement)
    }

    /// Whether a node has an entitlement, without saying what it is.
    pub fn is_entitled(&self, node: &SpiffeId, entitlement: &EntitlementId) -> bool {
        self.read().is_entitled(node, entitlement)
    }

    /// Whether this node was once entitled and no longer is: the tombstone of an entitlement.
    pub fn was_removed(&self, node: &SpiffeId, entitlement: &EntitlementId) -> bool {
        self.read().registry.tombstones.contains(node, entitlement)
    }

    /// Every entitlement that was taken from this node and is still remembered.
    pub fn removed(&self, node: &SpiffeId) -> Vec<EntitlementId> {
        self.read().registry.tombstones.of(node)
    }

    /// The newest SVID of an entitlement.
    pub fn published(
        &self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
    ) -> Option<Arc<PublishedSvid>> {
        self.read().published.newest(node, entitlement)
    }

    /// Every node that has attested and was not evicted since, by ID.
    pub fn nodes(&self) -> Vec<NodeRecord> {
        let state = self.read();
        let records = state.nodes.iter().map(|(id, attested_at, end)| NodeRecord {
            id: id.clone(),
            attested_at,
            credential_not_after: end,
        });
        let mut records: Vec<_> = records.collect();
        records.sort_by(|a, b| a.id.cmp(&b.id));
        records
    }

    /// How many certificates were logged and are not void.
    pub fn issued_total(&self) -> u64 {
        self.listed().issued_total()
    }

    /// Whether one more certificate of a node's own identity can be remembered, as things stand:
    /// before anything is given up for it.
    ///
    /// # Errors
    /// A table, or this node's share of it, is at its bound.
    pub fn check_room(&self, node: &SpiffeId) -> Result<(), AuthorityError> {
        self.check_voids()?;
        let state = self.read();
        state.keys.check_room(node, &EntitlementId::node())
    }

    /// How many keys have a certificate that is valid, or is being made.
    pub fn certified_keys(&self) -> usize {
        self.read().keys.len()
    }

    /// How many nodes are known.
    pub fn node_count(&self) -> usize {
        self.read().nodes.count()
    }

    /// Whether an ID is that of a known node.
    pub fn is_node(&self, id: &SpiffeId) -> bool {
        self.read().nodes.contains(id)
    }

    /// How many registrations there are.
    pub fn registration_count(&self) -> usize {
        self.read().registry.count()
    }

    /// State is replaced whole, so a writer that panicked left nothing half done.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn cas(&self) -> RwLockReadGuard<'_, Cas> {
        self.cas.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inventory, to read.
    pub fn listed(&self) -> RwLockReadGuard<'_, Inventory> {
        self.inventory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn inventory(&self) -> RwLockWriteGuard<'_, Inventory> {
        self.inventory
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the state of this commit can be read now.
    fn announce(&self, seq: Seq, events: impl IntoIterator<Item = Event>) {
        self.sequence.fetch_max(seq.0, Ordering::AcqRel);
        for event in events {
            self.hub.announce(&event);
            if matches!(event, Event::Bundle | Event::Authorities) {
                // Nobody listens before the first listener is up.
                let _ = self.changes.send(event);
            }
        }
    }
}

#[cfg(test)]
mod tests;
