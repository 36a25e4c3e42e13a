//! Registrations, what they entitle a node to, and the pure decision to authorize.
//!
//! The state is in memory, indexed by node, so that what a node may hold is found without a look
//! at the others. Only what the store has made durable is applied here.

mod authorize;
pub(crate) mod rules;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use countersign_model::{
    Entitlement, EntitlementId, EntitlementKind, Registration, RenewalWindow, SpiffeId,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) use authorize::{Authorized, authorize};

/// How long a removed right is remembered at least, so that a node that was away is told.
const TOMBSTONE_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Most removed rights that are remembered for one node; the one that ends first is forgotten.
pub(crate) const MAX_TOMBSTONES: usize = 4_096;

/// A registration as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) registration: Registration,
    /// Raised when the names or the lifetime of its certificates change.
    pub(crate) key_epoch: u64,
}

/// A right that was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) node: SpiffeId,
    pub(crate) entitlement: String,
    /// Until when it is remembered.
    pub(crate) until: Timestamp,
}

impl Tombstone {
    /// Remembers a removal until nothing issued for it is valid, and a day at least.
    pub(crate) fn new(
        registration: &Registration,
        valid_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let day = now.checked_add(TOMBSTONE_LIFE).unwrap_or(now);
        Self {
            node: registration.key.node.clone(),
            entitlement: registration.key.entitlement_id().to_string(),
            until: valid_until.map_or(day, |end| end.max(day)),
        }
    }

    /// Its key in the store.
    pub(crate) fn key(&self) -> String {
        format!("{} {}", self.entitlement, self.node)
    }
}

/// What is the same for every certificate of this control plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) ttl: Duration,
    pub(crate) renew: RenewalWindow,
}

/// A registration and the entitlement that follows from it.
#[derive(Clone, Debug)]
struct Held {
    kept: Kept,
    entitlement: Arc<Entitlement>,
}

/// Every registration, by node.
#[derive(Debug)]
pub(crate) struct Registry {
    defaults: Defaults,
    nodes: HashMap<SpiffeId, BTreeMap<EntitlementId, Held>>,
    /// Workload IDs and on which nodes: to find registrations by ID, and to keep IDs apart.
    workloads: HashMap<SpiffeId, BTreeMap<EntitlementId, SpiffeId>>,
    tombstones: HashMap<SpiffeId, BTreeMap<EntitlementId, Tombstone>>,
    longest_ttl: BTreeMap<Duration, usize>,
    count: usize,
}

impl Registry {
    pub(crate) fn new(defaults: Defaults) -> Self {
        Self {
            defaults,
            nodes: HashMap::new(),
            workloads: HashMap::new(),
            tombstones: HashMap::new(),
            longest_ttl: BTreeMap::from([(defaults.ttl, 1)]),
            count: 0,
        }
    }

    /// Adds or updates a registration; its tombstone goes.
    pub(crate) fn insert(&mut self, kept: Kept) {
        let key = &kept.registration.key;
        let id = key.entitlement_id();
        self.remove(&key.node.clone(), &id);
        if let Some(gone) = self.tombstones.get_mut(&key.node) {
            gone.remove(&id);
        }
        let ttl = self.ttl(&kept.registration);
        *self.longest_ttl.entry(ttl).or_default() += 1;
        self.workloads
            .entry(key.id.clone())
            .or_default()
            .insert(id.clone(), key.node.clone());
        let entitlement = Arc::new(self.derive(&id, &kept, ttl));
        let node = self.nodes.entry(key.node.clone()).or_default();
        node.insert(id, Held { kept, entitlement });
        self.count += 1;
    }

    /// Takes a registration away and remembers that it was there.
    pub(crate) fn bury(&mut self, tombstone: Tombstone) {
        let Some(id) = EntitlementId::parse(&tombstone.entitlement) else {
            return;
        };
        self.remove(&tombstone.node.clone(), &id);
        let gone = self.tombstones.entry(tombstone.node.clone()).or_default();
        gone.insert(id, tombstone);
    }

    /// The tombstones that no longer need to be remembered at `now`.
    pub(crate) fn expired_tombstones(&self, now: Timestamp) -> Vec<Tombstone> {
        let mut expired = Vec::new();
        for gone in self.tombstones.values() {
            let excess = gone.len().saturating_sub(MAX_TOMBSTONES);
            let mut by_end: Vec<_> = gone.values().collect();
            by_end.sort_by_key(|tombstone| tombstone.until);
            let old = by_end.iter().enumerate();
            expired.extend(
                old.filter(|(place, tombstone)| *place < excess || tombstone.until < now)
                    .map(|(_, tombstone)| (*tombstone).clone()),
            );
        }
        expired
    }

    /// Forgets tombstones.
    pub(crate) fn forget(&mut self, tombstones: &[Tombstone]) {
        for tombstone in tombstones {
            if let (Some(gone), Some(id)) = (
                self.tombstones.get_mut(&tombstone.node),
                EntitlementId::parse(&tombstone.entitlement),
            ) {
                gone.remove(&id);
            }
        }
        self.tombstones.retain(|_, gone| !gone.is_empty());
    }

    /// What a node may hold, without its own identity.
    pub(crate) fn entitlements(&self, node: &SpiffeId) -> impl Iterator<Item = &Arc<Entitlement>> {
        let held = self.nodes.get(node).into_iter().flatten();
        held.map(|(_, held)| &held.entitlement)
    }

    /// One of the things that a node may hold.
    pub(crate) fn entitlement(
        &self,
        node: &SpiffeId,
        id: &EntitlementId,
    ) -> Option<&Arc<Entitlement>> {
        Some(&self.nodes.get(node)?.get(id)?.entitlement)
    }

    /// One registration.
    pub(crate) fn find(&self, node: &SpiffeId, id: &EntitlementId) -> Option<&Kept> {
        Some(&self.nodes.get(node)?.get(id)?.kept)
    }

    /// The registrations of an ID, on one node or on all.
    pub(crate) fn of_id(&self, id: &SpiffeId, node: Option<&SpiffeId>) -> Vec<Registration> {
        let places = self.workloads.get(id).into_iter().flatten();
        places
            .filter(|(_, place)| node.is_none_or(|node| node == *place))
            .filter_map(|(entitlement, place)| self.find(place, entitlement))
            .map(|kept| kept.registration.clone())
            .collect()
    }

    /// Every registration, by key.
    pub(crate) fn all(&self) -> Vec<Registration> {
        let held = self.nodes.values().flat_map(BTreeMap::values);
        let mut all: Vec<_> = held.map(|held| held.kept.registration.clone()).collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Whether this right was taken away.
    pub(crate) fn was_removed(&self, node: &SpiffeId, id: &EntitlementId) -> bool {
        let gone = self.tombstones.get(node);
        gone.is_some_and(|gone| gone.contains_key(id))
    }

    /// The rights of a node that were taken away.
    pub(crate) fn removed(&self, node: &SpiffeId) -> Vec<EntitlementId> {
        let gone = self.tombstones.get(node).into_iter().flatten();
        gone.map(|(id, _)| id.clone()).collect()
    }

    /// How many registrations there are: an ID may have many.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether some registration hands this ID to workloads.
    pub(crate) fn is_workload(&self, id: &SpiffeId) -> bool {
        self.workloads.contains_key(id)
    }

    /// Whether some registration names this ID as its node.
    pub(crate) fn is_node(&self, id: &SpiffeId) -> bool {
        self.nodes.contains_key(id)
    }

    /// The longest lifetime that any certificate may have.
    pub(crate) fn longest_ttl(&self) -> Duration {
        let longest = self.longest_ttl.last_key_value();
        longest.map_or(self.defaults.ttl, |(ttl, _)| *ttl)
    }

    pub(crate) fn defaults(&self) -> Defaults {
        self.defaults
    }

    fn ttl(&self, registration: &Registration) -> Duration {
        registration.x509_ttl.unwrap_or(self.defaults.ttl)
    }

    fn derive(&self, id: &EntitlementId, kept: &Kept, ttl: Duration) -> Entitlement {
        let registration = &kept.registration;
        Entitlement {
            id: id.clone(),
            spiffe_id: registration.key.id.clone(),
            kind: EntitlementKind::Workload(registration.key.selectors.clone()),
            lifetime: ttl,
            renew: self.defaults.renew,
            min_key_epoch: kept.key_epoch,
            hint: registration.hint.clone(),
            is_default: registration.is_default,
            created_at: registration.created_at,
            created_seq: registration.created_seq,
        }
    }

    fn remove(&mut self, node: &SpiffeId, id: &EntitlementId) {
        let Some(held) = self.nodes.get_mut(node).and_then(|held| held.remove(id)) else {
            return;
        };
        self.count -= 1;
        if self.nodes.get(node).is_some_and(BTreeMap::is_empty) {
            self.nodes.remove(node);
        }
        let ttl = self.ttl(&held.kept.registration);
        if let Some(count) = self.longest_ttl.get_mut(&ttl) {
            *count -= 1;
            if *count == 0 {
                self.longest_ttl.remove(&ttl);
            }
        }
        let workload = &held.kept.registration.key.id;
        if let Some(places) = self.workloads.get_mut(workload) {
            places.remove(id);
            if places.is_empty() {
                self.workloads.remove(workload);
            }
        }
    }
}
