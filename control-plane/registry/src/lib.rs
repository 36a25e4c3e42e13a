//! Registrations, what they entitle a node to, and the pure decision to authorize.
//!
//! The state is in memory, indexed by node, so that what a node may hold is found without a look
//! at the others; what is signed by hand stands apart and is never shown to a node. Only what the
//! store has made durable is applied here.

mod account;
mod authorize;
mod filter;
pub mod policy;
pub mod rules;
mod tombstones;
mod writing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Duration;

use countersign_model::{
    Entitlement, EntitlementId, EntitlementKind, Parent, Registration, RegistrationKey,
    RenewalWindow, SelectorSet, SpiffeId,
};
use countersign_refusal::Denied;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use account::Account;
pub use authorize::{Authorized, NOT_ENTITLED, authorize, authorize_manual};
pub use filter::Filter;
pub use policy::Policy;
pub use tombstones::{Tombstone, TombstoneKey, Tombstones};
pub use writing::{Field, Mode, NoField, Written};

/// A registration as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What the operator registered.
    pub registration: Registration,
    /// Raised when the names or the lifetime of its certificates change, and higher than that of any
    /// registration of the same key before.
    pub key_epoch: u64,
    /// When it was raised last.
    #[serde(default)]
    pub raised_at: Option<Timestamp>,
    /// The key epoch that it began with: certificates of an earlier one were made for a registration of the same key
    /// that was removed. Written from level 3 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<u64>,
}

/// What is the same for every certificate of this control plane.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// Lifetime where a registration names none.
    pub ttl: Duration,
    /// When sidecars renew.
    pub renew: RenewalWindow,
    /// How far NotBefore of what is issued lies back.
    pub backdate: Duration,
}

/// Most registrations of all.
const MAX_REGISTRATIONS: usize = 1_000_000;

/// Where a registration stands among all: the workload's ID, then its name.
pub type Place = (SpiffeId, EntitlementId);

/// What each node holds. Boxed: a tree of the values themselves would have much unused room.
type ByNode = HashMap<SpiffeId, BTreeMap<EntitlementId, Box<Kept>>>;

/// Every registration, by node or by hand.
#[derive(Debug)]
pub struct Registry {
    defaults: Defaults,
    policy: Policy,
    /// What is signed by hand: one registration an ID.
    manual: HashMap<SpiffeId, Kept>,
    /// The registrations that end, the next one first.
    ends: BTreeSet<(Timestamp, RegistrationKey)>,
    nodes: ByNode,
    /// Every registration, by the workload's ID and in this order, and on which node it is; `None`
    /// where it is by hand. One tree, for most IDs are on one node and a tree of one costs as much as
    /// a tree of ten.
    places: BTreeMap<Place, Option<SpiffeId>>,
    /// The workload's ID of every registration, by its name.
    ids: HashMap<EntitlementId, SpiffeId>,
    /// What nodes lost.
    pub tombstones: Tombstones,
    ttls: BTreeMap<Duration, usize>,
    count: usize,
    /// See `MAX_REGISTRATIONS`.
    pub most: usize,
}

impl Registry {
    /// No registrations yet.
    pub fn new(defaults: Defaults, policy: Policy) -> Self {
        Self {
            defaults,
            policy,
            manual: HashMap::new(),
            ends: BTreeSet::new(),
            nodes: HashMap::new(),
            places: BTreeMap::new(),
            ids: HashMap::new(),
            tombstones: Tombstones::default(),
            ttls: BTreeMap::from([(defaults.ttl, 1)]),
            count: 0,
            most: MAX_REGISTRATIONS,
        }
    }

    /// Before one more registration is added than `more` that are about to be.
    ///
    /// # Errors
    /// There are as many as there may be.
    pub fn check_room(&self, more: usize) -> Result<(), Denied> {
        if self.count + more < self.most {
            return Ok(());
        }
        Err(Denied {
            code: "too_many_registrations",
            message: format!("there are {} registrations", self.count),
            remedy: "unregister what is no longer used",
        })
    }

    /// Adds or updates a registration; its tombstone goes.
    pub fn insert(&mut self, kept: Kept) {
        let key = kept.registration.key.clone();
        let id = key.entitlement_id();
        self.remove(&id);
        let ttl = self.ttl(&kept.registration);
        *self.ttls.entry(ttl).or_default() += 1;
        if let Some(end) = kept.registration.expires_at {
            self.ends.insert((end, key.clone()));
        }
        self.count += 1;
        self.ids.insert(id.clone(), key.id.clone());
        let place = (key.id.clone(), id.clone());
        match key.parent {
            Parent::Node { node, selectors } => {
                let node = self.insert_on(&node, id, selectors, kept);
                self.places.insert(place, Some(node));
            }
            Parent::Manual => {
                self.manual.insert(key.id, kept);
                self.places.insert(place, None);
            }
        }
    }

    /// Returns the text of the node that is kept here: one for all the registrations of a node.
    fn insert_on(
        &mut self,
        node: &SpiffeId,
        id: EntitlementId,
        selectors: SelectorSet,
        mut kept: Kept,
    ) -> SpiffeId {
        self.tombstones.forget(&TombstoneKey {
            node: node.clone(),
            entitlement: id.clone(),
        });
        let known = self.nodes.get_key_value(node).map(|(known, _)| known);
        let node = known.unwrap_or(node).clone();
        kept.registration.key.parent = Parent::Node {
            node: node.clone(),
            selectors,
        };
        let held = self.nodes.entry(node.clone()).or_default();
        held.insert(id, Box::new(kept));
        node
    }

    /// Takes a registration away; what a node held of it is remembered by its tombstone.
    pub fn remove(&mut self, id: &EntitlementId) -> Option<Kept> {
        let workload = self.ids.remove(id)?;
        let place = (workload, id.clone());
        let kept = match self.places.remove(&place)? {
            Some(node) => self.remove_from(&node, id)?,
            None => self.manual.remove(&place.0)?,
        };
        self.count -= 1;
        if let Some(end) = kept.registration.expires_at {
            self.ends.remove(&(end, kept.registration.key.clone()));
        }
        let ttl = self.ttl(&kept.registration);
        if let Some(count) = self.ttls.get_mut(&ttl) {
            *count -= 1;
            if *count == 0 {
                self.ttls.remove(&ttl);
            }
        }
        Some(kept)
    }

    /// The registrations that have ended at `now`, the oldest end first, at most `most`.
    pub fn ended(&self, now: Timestamp, most: usize) -> Vec<Registration> {
        let ended = self.ends.iter().take_while(|(end, _)| *end <= now);
        ended
            .filter_map(|(_, key)| self.of_key(key))
            .map(|kept| kept.registration.clone())
            .take(most)
            .collect()
    }

    /// What a node may hold, without its own identity. Made when it is asked for: it would double
    /// what a registration costs.
    pub fn entitlements(&self, node: &SpiffeId) -> impl Iterator<Item = Entitlement> {
        let held = self.nodes.get(node).into_iter().flatten();
        held.filter_map(|(id, kept)| self.derive(id, kept))
    }

    /// The nodes that registrations name.
    pub fn nodes(&self) -> impl Iterator<Item = &SpiffeId> {
        self.nodes.keys()
    }

    /// How many registrations are signed by hand.
    pub fn manual_count(&self) -> usize {
        self.manual.len()
    }

    /// How many registrations a node holds.
    pub fn count_on(&self, node: &SpiffeId) -> usize {
        self.nodes.get(node).map_or(0, BTreeMap::len)
    }

    /// One of the things that a node may hold.
    pub fn entitlement(&self, node: &SpiffeId, id: &EntitlementId) -> Option<Entitlement> {
        let (id, kept) = self.held(node, id)?;
        self.derive(id, kept)
    }

    /// One registration.
    pub fn find(&self, node: &SpiffeId, id: &EntitlementId) -> Option<&Kept> {
        Some(self.held(node, id)?.1)
    }

    /// One registration and the name of its entitlement, in the texts that are kept here.
    pub fn held(&self, node: &SpiffeId, id: &EntitlementId) -> Option<(&EntitlementId, &Kept)> {
        let (id, kept) = self.nodes.get(node)?.get_key_value(id)?;
        Some((id, kept))
    }

    /// The registration of an ID that is signed by hand.
    pub fn find_manual(&self, id: &SpiffeId) -> Option<&Kept> {
        self.manual.get(id)
    }

    /// The registration with this key.
    pub fn of_key(&self, key: &RegistrationKey) -> Option<&Kept> {
        match key.node() {
            Some(node) => self.find(node, &key.entitlement_id()),
            None => self.find_manual(&key.id),
        }
    }

    /// The registrations of an ID, on one node or everywhere.
    pub fn of_id(&self, id: &SpiffeId, node: Option<&SpiffeId>) -> Vec<Registration> {
        let places = self.places_of(id);
        let places = places.filter(|(_, at)| node.is_none() || *at == node);
        let found = places.filter_map(|(name, at)| self.at(id, name, at));
        found.map(|kept| kept.registration.clone()).collect()
    }

    /// Under which names a workload's ID is registered, and on which nodes.
    fn places_of(
        &self,
        id: &SpiffeId,
    ) -> impl Iterator<Item = (&EntitlementId, Option<&SpiffeId>)> {
        // No registration has this name, and every other comes after it.
        let least = (id.clone(), EntitlementId::node());
        let from_there = self.places.range(least..);
        from_there
            .take_while(move |((of, _), _)| of == id)
            .map(|((_, name), node)| (name, node.as_ref()))
    }

    fn at(&self, id: &SpiffeId, name: &EntitlementId, node: Option<&SpiffeId>) -> Option<&Kept> {
        match node {
            Some(node) => self.find(node, name),
            None => self.find_manual(id),
        }
    }

    /// The registrations that follow a place, by ID, and at most so many of them: whoever wants all
    /// asks again from the last one on, so that nothing waits for the whole list.
    pub fn page(&self, after: Option<&Place>, most: usize) -> Vec<&Kept> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let following = self.places.range::<Place, _>((after, Bound::Unbounded));
        let following = following.take(most);
        let kept = following.filter_map(|((id, name), node)| self.at(id, name, node.as_ref()));
        kept.collect()
    }

    /// How many registrations there are: an ID may have many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether some registration hands this ID to workloads.
    pub fn is_workload(&self, id: &SpiffeId) -> bool {
        self.places_of(id).next().is_some()
    }

    /// Whether some registration names this ID as its node.
    pub fn is_node(&self, id: &SpiffeId) -> bool {
        self.nodes.contains_key(id)
    }

    /// The shortest and the longest lifetime that any certificate may have.
    pub fn ttl_bounds(&self) -> (Duration, Duration) {
        let ttl = |entry: Option<(&Duration, _)>| entry.map_or(self.defaults.ttl, |(ttl, _)| *ttl);
        (
            ttl(self.ttls.first_key_value()),
            ttl(self.ttls.last_key_value()),
        )
    }

    /// What is the same for every certificate.
    pub fn defaults(&self) -> Defaults {
        self.defaults
    }

    fn ttl(&self, registration: &Registration) -> Duration {
        registration.x509_ttl.unwrap_or(self.defaults.ttl)
    }

    /// The entitlement that follows from a registration; none from one that is by hand.
    fn derive(&self, id: &EntitlementId, kept: &Kept) -> Option<Entitlement> {
        let registration = &kept.registration;
        let selectors = registration.key.selectors()?.clone();
        Some(Entitlement {
            id: id.clone(),
            spiffe_id: registration.key.id.clone(),
            kind: EntitlementKind::Workload(selectors),
            lifetime: self.ttl(registration),
            renew: self.defaults.renew,
            min_key_epoch: kept.key_epoch,
            hint: registration.hint.clone(),
            is_default: registration.is_default,
            created_at: registration.created_at,
            created_seq: registration.created_seq,
            backdate: self.defaults.backdate,
        })
    }

    fn remove_from(&mut self, node: &SpiffeId, id: &EntitlementId) -> Option<Kept> {
        let of_node = self.nodes.get_mut(node)?;
        let kept = of_node.remove(id)?;
        if of_node.is_empty() {
            self.nodes.remove(node);
        }
        Some(*kept)
    }
}

#[cfg(test)]
mod tests;
