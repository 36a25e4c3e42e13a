//! What was taken from nodes, remembered so that a node that was away is told: absence is not
//! removal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use countersign_model::{EntitlementId, Registration, RegistrationKey, SpiffeId};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long a removed right is remembered at least.
const TOMBSTONE_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Most removed rights that are remembered for one node; the one that ends first is forgotten.
const MAX_TOMBSTONES: usize = 4_096;

/// Which right of which node was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TombstoneKey {
    /// Who lost it.
    pub node: SpiffeId,
    /// What was lost.
    pub entitlement: EntitlementId,
}

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

    /// What it is the tombstone of; `None` where it is damaged.
    pub fn key(&self) -> Option<TombstoneKey> {
        Some(TombstoneKey {
            node: self.node.clone(),
            entitlement: EntitlementId::parse(&self.entitlement)?,
        })
    }
}

impl TombstoneKey {
    /// The tombstone of a registration; `None` for what is signed by hand.
    pub fn of(key: &RegistrationKey) -> Option<Self> {
        Some(Self {
            node: key.node()?.clone(),
            entitlement: key.entitlement_id(),
        })
    }
}

/// As it is stored.
impl fmt::Display for TombstoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.entitlement, self.node)
    }
}

impl TombstoneKey {
    /// Reads what [`Display`](fmt::Display) writes; `None` where it is damaged.
    pub fn parse(text: &str) -> Option<Self> {
        let (entitlement, node) = text.split_once(' ')?;
        Some(Self {
            node: SpiffeId::new(node).ok()?,
            entitlement: EntitlementId::parse(entitlement)?,
        })
    }
}

/// What every node lost.
#[derive(Debug, Default)]
pub struct Tombstones {
    by_node: HashMap<SpiffeId, BTreeMap<EntitlementId, Timestamp>>,
    /// Until when each is remembered, the first end first.
    ends: BTreeSet<(Timestamp, TombstoneKey)>,
    /// Nodes with more than [`MAX_TOMBSTONES`].
    crowded: BTreeSet<SpiffeId>,
}

impl Tombstones {
    /// Remembers that a node lost a right.
    pub fn bury(&mut self, key: TombstoneKey, until: Timestamp) {
        self.forget(&key);
        // One text for all the tombstones of a node.
        let known = self.by_node.get_key_value(&key.node);
        let node = known.map_or_else(|| key.node.clone(), |(known, _)| known.clone());
        let key = TombstoneKey { node, ..key };
        let lost = self.by_node.entry(key.node.clone()).or_default();
        lost.insert(key.entitlement.clone(), until);
        if lost.len() > MAX_TOMBSTONES {
            self.crowded.insert(key.node.clone());
        }
        self.ends.insert((until, key));
    }

    /// Forgets a tombstone: its time is over, or the node has the right again.
    pub fn forget(&mut self, key: &TombstoneKey) {
        let Some(lost) = self.by_node.get_mut(&key.node) else {
            return;
        };
        let Some(until) = lost.remove(&key.entitlement) else {
            return;
        };
        if lost.len() <= MAX_TOMBSTONES {
            self.crowded.remove(&key.node);
        }
        if lost.is_empty() {
            self.by_node.remove(&key.node);
        }
        self.ends.remove(&(until, key.clone()));
    }

    /// What no longer needs to be remembered at `now`, at most so many.
    pub fn expired(&self, now: Timestamp, most: usize) -> Vec<TombstoneKey> {
        let over = self.ends.iter().take_while(|(until, _)| *until < now);
        let over = over.map(|(_, key)| key.clone());
        let excess = self.crowded.iter().flat_map(|node| self.excess(node, now));
        over.chain(excess).take(most).collect()
    }

    /// What a node has too much and is not over, the first end first.
    fn excess(&self, node: &SpiffeId, now: Timestamp) -> Vec<TombstoneKey> {
        let lost = self.by_node.get(node).into_iter().flatten();
        let mut by_end: Vec<_> = lost
            .map(|(entitlement, until)| (*until, entitlement))
            .collect();
        by_end.sort();
        by_end.truncate(by_end.len().saturating_sub(MAX_TOMBSTONES));
        let excess = by_end.into_iter().filter(|(until, _)| *until >= now);
        let key = |(_, entitlement): (_, &EntitlementId)| TombstoneKey {
            node: node.clone(),
            entitlement: entitlement.clone(),
        };
        excess.map(key).collect()
    }

    /// Whether this right was taken away.
    pub fn contains(&self, node: &SpiffeId, id: &EntitlementId) -> bool {
        let lost = self.by_node.get(node);
        lost.is_some_and(|lost| lost.contains_key(id))
    }

    /// The rights of a node that were taken away.
    pub fn of(&self, node: &SpiffeId) -> Vec<EntitlementId> {
        let lost = self.by_node.get(node).into_iter().flatten();
        lost.map(|(id, _)| id.clone()).collect()
    }

    /// Every tombstone, the first end first.
    pub fn iter(&self) -> impl Iterator<Item = (&TombstoneKey, Timestamp)> {
        self.ends.iter().map(|(until, key)| (key, *until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize, node: &str) -> TombstoneKey {
        TombstoneKey {
            node: SpiffeId::new(&format!("spiffe://example.org/node/{node}")).unwrap(),
            entitlement: EntitlementId::parse(&format!("reg-{n:032x}")).unwrap(),
        }
    }

    fn at(second: usize) -> Timestamp {
        Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
    }

    #[test]
    fn tombstones_of_a_node_are_bounded() {
        let mut tombstones = Tombstones::default();
        // The last ends first.
        for n in (0..MAX_TOMBSTONES + 3).rev() {
            tombstones.bury(key(n, "a"), at(n));
        }
        tombstones.bury(key(0, "b"), at(0));
        let over = tombstones.expired(Timestamp::UNIX_EPOCH, usize::MAX);
        let expected: Vec<_> = (0..3).map(|n| key(n, "a")).collect();
        assert_eq!(over, expected, "those that end first, of this node alone");
        assert_eq!(tombstones.expired(Timestamp::UNIX_EPOCH, 2), expected[..2]);
        over.iter().for_each(|key| tombstones.forget(key));
        let node = &expected[0].node;
        assert_eq!(tombstones.of(node).len(), MAX_TOMBSTONES);
        assert!(
            tombstones
                .expired(Timestamp::UNIX_EPOCH, usize::MAX)
                .is_empty()
        );
    }

    #[test]
    fn tombstone_ends_once_and_first_ends_first() {
        let mut tombstones = Tombstones::default();
        for (n, until) in [(1, 30), (2, 10), (3, 20), (2, 25)] {
            tombstones.bury(key(n, "a"), at(until));
        }
        assert_eq!(tombstones.expired(at(25), 9), [key(3, "a")]);
        assert_eq!(tombstones.expired(at(26), 9), [key(3, "a"), key(2, "a")]);
        tombstones.forget(&key(3, "a"));
        assert_eq!(tombstones.expired(at(99), 9), [key(2, "a"), key(1, "a")]);
        assert_eq!(
            TombstoneKey::parse(&key(1, "a").to_string()),
            Some(key(1, "a"))
        );
    }
}
