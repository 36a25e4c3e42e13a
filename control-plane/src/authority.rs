//! The authority: everything that can change, behind one façade.
//!
//! Every write goes through here, is durable in the store before it is seen, and is announced as
//! a [`Change`]. Reads are lock-light snapshots. `now` is passed in everywhere.

mod cas;
mod errors;
mod identity;
mod issuing;
mod nodes;
mod opening;
mod registrations;
mod rotation;
mod state;
mod upkeep;
mod values;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use arc_swap::ArcSwapOption;
use countersign_discovery::Stamp;
use countersign_model::{Entitlement, EntitlementId, Registration, SpiffeId, TrustDomain};
use countersign_verify::TrustBundle;
use tokio::sync::broadcast;

pub use crate::attest::{AttestedNode, ProvenKey};
use crate::ca::keys::KeyStore;
use crate::ca::log::Log;
pub use crate::ca::slots::SlotState;
use crate::store::{DataDir, Seq, Store};
use crate::telemetry::Issuance;
pub use values::{
    AuthorityError, AuthorityInfo, Change, Denied, GateOpen, NodeRecord, PublishedSvid,
    RegistrationRequest, Removed, ServerIdentity, Settings,
};

use cas::Cas;
use issuing::Stripes;
use state::State;

/// How many changes a receiver may be behind before it must read everything again.
const CHANGES: usize = 16_384;

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
    keys: Box<dyn KeyStore>,
    /// One write of registrations, tokens or CAs at a time; enrolments do not wait for it.
    writing: tokio::sync::Mutex<()>,
    /// One enrolment of an entitlement at a time.
    enrolling: Stripes,
    changes: broadcast::Sender<Change>,
    metrics: Issuance,
    _data_dir: DataDir,
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
    pub(crate) fn metrics(&self) -> &Issuance {
        &self.metrics
    }

    /// Changes from now on. A receiver that lags must read everything again.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// The trust bundle and its sequence.
    pub fn bundle(&self) -> (Arc<TrustBundle>, u64) {
        let bundle = self.bundle.load_full();
        let (bundle, sequence) = &*bundle.expect("opening installs the first bundle");
        (bundle.clone(), *sequence)
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

    /// Whether this node was once entitled and no longer is: the tombstone of an entitlement.
    pub fn was_removed(&self, node: &SpiffeId, entitlement: &EntitlementId) -> bool {
        self.read().registry.was_removed(node, entitlement)
    }

    /// Every entitlement that was taken from this node and is still remembered.
    pub fn removed(&self, node: &SpiffeId) -> Vec<EntitlementId> {
        self.read().registry.removed(node)
    }

    /// The newest SVID of an entitlement.
    pub fn published(
        &self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
    ) -> Option<Arc<PublishedSvid>> {
        self.read().published.newest(node, entitlement)
    }

    /// Every node that has attested, by ID.
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

    /// How many certificates were logged.
    pub fn issued_total(&self) -> u64 {
        self.log.appended()
    }

    /// A node recognised by its own, unexpired node SVID: `None` for anything else, such as a
    /// workload's SVID.
    pub fn recognise(&self, id: &SpiffeId, spki_sha256: &[u8; 32]) -> Option<AttestedNode> {
        self.read().nodes.recognise(id, spki_sha256)
    }

    /// All registrations, by key.
    pub fn registrations(&self) -> Vec<Registration> {
        self.read().registry.all()
    }

    /// How many registrations there are.
    pub fn registration_count(&self) -> usize {
        self.read().registry.len()
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

    /// Says that the state of this commit can be read now.
    fn announce(&self, seq: Seq, changes: impl IntoIterator<Item = Change>) {
        self.sequence.fetch_max(seq.0, Ordering::AcqRel);
        for change in changes {
            // Nobody listens before the first stream.
            let _ = self.changes.send(change);
        }
    }
}

#[cfg(test)]
mod tests;
