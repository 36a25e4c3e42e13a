//! What was taken from nodes, remembered so that a node that was away is told: absence is not
//! removal.

use std::collections::{BTreeMap, HashMap};

use countersign_model::{EntitlementId, Registration, SpiffeId};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a removed right is remembered at least.
const TOMBSTONE_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Most removed rights that are remembered for one node; the one that ends first is forgotten.
const MAX_TOMBSTONES: usize = 4_096;

/// A right that was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Who lost it.
    pub node: SpiffeId,
    /// What was lost.
    pub entitlement: String,
    /// Until when it is remembered.
    pub until: Timestamp,
}

impl Tombstone {
    /// Remembers a removal until nothing issued for it is valid, and a day at least. Nobody has
    /// to be told of what was signed by hand.
    pub fn of(
        registration: &Registration,
        valid_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Self> {
        let day = now.checked_add(TOMBSTONE_LIFE).unwrap_or(now);
        Some(Self {
            node: registration.key.node()?.clone(),
            entitlement: registration.key.entitlement_id().to_string(),
            until: valid_until.map_or(day, |end| end.max(day)),
        })
    }

    /// Its key in the store.
    pub fn key(&self) -> String {
        format!("{} {}", self.entitlement, self.node)
    }
}

/// What every node lost.
#[derive(Debug, Default)]
pub struct Tombstones(HashMap<SpiffeId, BTreeMap<EntitlementId, Tombstone>>);

impl Tombstones {
    /// Remembers that a node lost a right.
    pub fn bury(&mut self, tombstone: Tombstone) {
        let Some(id) = EntitlementId::parse(&tombstone.entitlement) else {
            return;
        };
        let gone = self.0.entry(tombstone.node.clone()).or_default();
        gone.insert(id, tombstone);
    }

    /// The node has the right again.
    pub(super) fn clear(&mut self, node: &SpiffeId, id: &EntitlementId) {
        if let Some(gone) = self.0.get_mut(node) {
            gone.remove(id);
        }
    }

    /// What no longer needs to be remembered at `now`.
    pub fn expired(&self, now: Timestamp) -> Vec<Tombstone> {
        let mut expired = Vec::new();
        for gone in self.0.values() {
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
    pub fn forget(&mut self, tombstones: &[Tombstone]) {
        for tombstone in tombstones {
            if let Some(id) = EntitlementId::parse(&tombstone.entitlement) {
                self.clear(&tombstone.node, &id);
            }
        }
        self.0.retain(|_, gone| !gone.is_empty());
    }

    /// Whether this right was taken away.
    pub fn contains(&self, node: &SpiffeId, id: &EntitlementId) -> bool {
        let gone = self.0.get(node);
        gone.is_some_and(|gone| gone.contains_key(id))
    }

    /// The rights of a node that were taken away.
    pub fn of(&self, node: &SpiffeId) -> Vec<EntitlementId> {
        let gone = self.0.get(node).into_iter().flatten();
        gone.map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tombstone(n: usize, node: &str) -> Tombstone {
        Tombstone {
            node: SpiffeId::new(&format!("spiffe://example.org/node/{node}")).unwrap(),
            entitlement: format!("reg-{n:032x}"),
            until: Timestamp::from_second(i64::try_from(n).unwrap()).unwrap(),
        }
    }

    #[test]
    fn tombstones_of_a_node_are_bounded() {
        let mut tombstones = Tombstones::default();
        // The last ends first.
        for n in (0..MAX_TOMBSTONES + 3).rev() {
            tombstones.bury(tombstone(n, "a"));
        }
        tombstones.bury(tombstone(0, "b"));
        let over = tombstones.expired(Timestamp::UNIX_EPOCH);
        let expected: Vec<_> = (0..3).map(|n| tombstone(n, "a")).collect();
        assert_eq!(over, expected, "those that end first, of this node alone");
        tombstones.forget(&over);
        let node = &expected[0].node;
        assert_eq!(tombstones.of(node).len(), MAX_TOMBSTONES);
        assert!(tombstones.expired(Timestamp::UNIX_EPOCH).is_empty());
    }
}
