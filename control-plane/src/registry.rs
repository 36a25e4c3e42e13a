//! Registrations, what they entitle a node to, and the pure decision to authorize.
//!
//! The state is in memory, indexed by node, so that what a node may hold is found without a look
//! at the others; what is signed by hand stands apart and is never shown to a node. Only what the
//! store has made durable is applied here.

mod authorize;
pub(crate) mod policy;
pub(crate) mod rules;
mod tombstones;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use countersign_model::{
    Entitlement, EntitlementId, EntitlementKind, Parent, Registration, RegistrationKey,
    RenewalWindow, SelectorSet, SpiffeId,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use authorize::authorize_by_hand;
pub use authorize::{Authorized, authorize};
pub use policy::Policy;
pub(crate) use tombstones::{Tombstone, Tombstones};

/// A registration as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) registration: Registration,
    /// Raised when the names or the lifetime of its certificates change.
    pub(crate) key_epoch: u64,
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

/// Every registration, by node or by hand.
#[derive(Debug)]
pub struct Registry {
    defaults: Defaults,
    policy: Policy,
    /// What is signed by hand: one registration an ID.
    by_hand: HashMap<SpiffeId, Kept>,
    /// The registrations that end, the next one first.
    ends: BTreeSet<(Timestamp, RegistrationKey)>,
    nodes: HashMap<SpiffeId, BTreeMap<EntitlementId, Held>>,
    /// Workload IDs and on which nodes: to find registrations by ID, and to keep IDs apart.
    workloads: HashMap<SpiffeId, BTreeMap<EntitlementId, SpiffeId>>,
    /// What nodes lost.
    pub(crate) tombstones: Tombstones,
    ttls: BTreeMap<Duration, usize>,
    count: usize,
}

impl Registry {
    pub(crate) fn new(defaults: Defaults, policy: Policy) -> Self {
        Self {
            defaults,
            policy,
            by_hand: HashMap::new(),
            ends: BTreeSet::new(),
            nodes: HashMap::new(),
            workloads: HashMap::new(),
            tombstones: Tombstones::default(),
            ttls: BTreeMap::from([(defaults.ttl, 1)]),
            count: 0,
        }
    }

    /// Adds or updates a registration; its tombstone goes.
    pub(crate) fn insert(&mut self, kept: Kept) {
        let key = kept.registration.key.clone();
        self.remove(&key);
        let ttl = self.ttl(&kept.registration);
        *self.ttls.entry(ttl).or_default() += 1;
        if let Some(end) = kept.registration.expires_at {
            self.ends.insert((end, key.clone()));
        }
        self.count += 1;
        match key.parent {
            Parent::Node { node, selectors } => self.insert_on(&node, selectors, kept, ttl),
            Parent::ByHand => {
                self.by_hand.insert(key.id, kept);
            }
        }
    }

    fn insert_on(&mut self, node: &SpiffeId, selectors: SelectorSet, kept: Kept, ttl: Duration) {
        let key = &kept.registration.key;
        let id = key.entitlement_id();
        self.tombstones.clear(node, &id);
        self.workloads
            .entry(key.id.clone())
            .or_default()
            .insert(id.clone(), node.clone());
        let entitlement = Arc::new(self.derive(&id, &kept, selectors, ttl));
        let held = self.nodes.entry(node.clone()).or_default();
        held.insert(id, Held { kept, entitlement });
    }

    /// Takes a registration away; what a node held of it is remembered by its tombstone.
    pub(crate) fn remove(&mut self, key: &RegistrationKey) {
        let removed = match key.node() {
            Some(node) => self.remove_from(node, &key.entitlement_id()),
            None => self.by_hand.remove(&key.id),
        };
        let Some(kept) = removed else {
            return;
        };
        self.count -= 1;
        if let Some(end) = kept.registration.expires_at {
            self.ends.remove(&(end, key.clone()));
        }
        let ttl = self.ttl(&kept.registration);
        if let Some(count) = self.ttls.get_mut(&ttl) {
            *count -= 1;
            if *count == 0 {
                self.ttls.remove(&ttl);
            }
        }
    }

    /// The registrations that have ended at `now`, the oldest end first, at most `most`.
    pub(crate) fn ended(&self, now: Timestamp, most: usize) -> Vec<Registration> {
        let ended = self.ends.iter().take_while(|(end, _)| *end <= now);
        ended
            .filter_map(|(_, key)| self.of_key(key))
            .map(|kept| kept.registration.clone())
            .take(most)
            .collect()
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

    /// The registration of an ID that is signed by hand.
    pub(crate) fn find_by_hand(&self, id: &SpiffeId) -> Option<&Kept> {
        self.by_hand.get(id)
    }

    /// The registration with this key.
    pub(crate) fn of_key(&self, key: &RegistrationKey) -> Option<&Kept> {
        match key.node() {
            Some(node) => self.find(node, &key.entitlement_id()),
            None => self.find_by_hand(&key.id),
        }
    }

    /// The registrations of an ID, on one node or everywhere.
    pub(crate) fn of_id(&self, id: &SpiffeId, node: Option<&SpiffeId>) -> Vec<Registration> {
        let places = self.workloads.get(id).into_iter().flatten();
        let on_nodes = places
            .filter(|(_, place)| node.is_none_or(|node| node == *place))
            .filter_map(|(entitlement, place)| self.find(place, entitlement));
        let by_hand = self.by_hand.get(id).filter(|_| node.is_none());
        on_nodes
            .chain(by_hand)
            .map(|kept| kept.registration.clone())
            .collect()
    }

    /// Every registration, by key.
    pub(crate) fn all(&self) -> Vec<Registration> {
        let mut all: Vec<_> = self.iter().cloned().collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Every registration, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Registration> {
        let held = self.nodes.values().flat_map(BTreeMap::values);
        let on_nodes = held.map(|held| &held.kept);
        let all = on_nodes.chain(self.by_hand.values());
        all.map(|kept| &kept.registration)
    }

    /// How many registrations there are: an ID may have many.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether some registration hands this ID to workloads.
    pub(crate) fn is_workload(&self, id: &SpiffeId) -> bool {
        self.workloads.contains_key(id) || self.by_hand.contains_key(id)
    }

    /// Whether some registration names this ID as its node.
    pub(crate) fn is_node(&self, id: &SpiffeId) -> bool {
        self.nodes.contains_key(id)
    }

    /// The shortest and the longest lifetime that any certificate may have.
    pub(crate) fn ttl_bounds(&self) -> (Duration, Duration) {
        let ttl = |entry: Option<(&Duration, _)>| entry.map_or(self.defaults.ttl, |(ttl, _)| *ttl);
        (
            ttl(self.ttls.first_key_value()),
            ttl(self.ttls.last_key_value()),
        )
    }

    pub(crate) fn defaults(&self) -> Defaults {
        self.defaults
    }

    fn ttl(&self, registration: &Registration) -> Duration {
        registration.x509_ttl.unwrap_or(self.defaults.ttl)
    }

    fn derive(
        &self,
        id: &EntitlementId,
        kept: &Kept,
        selectors: SelectorSet,
        ttl: Duration,
    ) -> Entitlement {
        let registration = &kept.registration;
        Entitlement {
            id: id.clone(),
            spiffe_id: registration.key.id.clone(),
            kind: EntitlementKind::Workload(selectors),
            lifetime: ttl,
            renew: self.defaults.renew,
            min_key_epoch: kept.key_epoch,
            hint: registration.hint.clone(),
            is_default: registration.is_default,
            created_at: registration.created_at,
            created_seq: registration.created_seq,
        }
    }

    fn remove_from(&mut self, node: &SpiffeId, id: &EntitlementId) -> Option<Kept> {
        let of_node = self.nodes.get_mut(node)?;
        let held = of_node.remove(id)?;
        if of_node.is_empty() {
            self.nodes.remove(node);
        }
        let workload = &held.kept.registration.key.id;
        if let Some(places) = self.workloads.get_mut(workload) {
            places.remove(id);
            if places.is_empty() {
                self.workloads.remove(workload);
            }
        }
        Some(held.kept)
    }
}

#[cfg(test)]
mod tests;
