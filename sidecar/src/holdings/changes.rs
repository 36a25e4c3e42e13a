//! What one snapshot has otherwise than the one before it, by the names that others follow. Pure.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::sync::Arc;

use countersign_model::{EntitlementId, SpiffeId};
use jiff::Timestamp;

use super::{Entries, Held, Snapshot};

/// What changed between two snapshots.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Entitlements that came, changed or ended, and those whose credential is another, in order.
    entitlements: Vec<EntitlementId>,
    /// Their identities, in order.
    names: Vec<SpiffeId>,
    /// Whether an entitlement came, changed or ended.
    pub(super) rights: bool,
    /// Whether the bundle is another one.
    pub(super) bundle: bool,
    /// Whether it became known, or unknown, who may have what: that concerns everybody.
    pub(super) knowledge: bool,
}

impl Changes {
    pub(super) fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let mut changes = Self {
            bundle: !is_same(old.bundle.as_ref(), new.bundle.as_ref()),
            knowledge: old.knows_rights() != new.knows_rights(),
            ..Self::default()
        };
        if !Arc::ptr_eq(&old.entries, &new.entries) {
            changes.compare(&old.entries, &new.entries);
        }
        changes
    }

    /// The credentials that ended after `since` and by `now`.
    pub(super) fn ended(entries: &Entries, since: Timestamp, now: Timestamp) -> Self {
        let mut changes = Self::default();
        for held in entries.values() {
            let lifetime = held.svid.as_ref().map(|svid| svid.lifetime);
            if lifetime.is_some_and(|it| it.is_expired(now) && !it.is_expired(since)) {
                changes.name(held);
            }
        }
        changes.sort_names();
        changes
    }

    /// Whether an entitlement, or its credential, is another.
    pub(super) fn concern(&self, entitlement: &EntitlementId) -> bool {
        self.entitlements.binary_search(entitlement).is_ok()
    }

    /// Whether an entitlement to this identity, or its credential, is another.
    pub(super) fn concern_name(&self, name: &str) -> bool {
        let order = |own: &SpiffeId| own.as_str().cmp(name);
        self.names.binary_search_by(order).is_ok()
    }

    /// Whether nobody who follows something is concerned.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn compare(&mut self, old: &Entries, new: &Entries) {
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        while let Some(pair) = next_pair(&mut old, &mut new) {
            match pair {
                (Some(old), Some(new)) if !is_same_right(old, new) => self.right(&[old, new]),
                (Some(old), Some(new)) if !is_same(old.svid.as_ref(), new.svid.as_ref()) => {
                    self.name(new);
                }
                (Some(_), Some(_)) | (None, None) => {}
                (Some(held), None) | (None, Some(held)) => self.right(&[held]),
            }
        }
        self.sort_names();
    }

    fn sort_names(&mut self) {
        self.names
            .sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        self.names.dedup();
    }

    fn right(&mut self, held: &[&Held]) {
        self.rights = true;
        held.iter().for_each(|held| self.name(held));
        // Both are of one entitlement.
        self.entitlements.dedup();
    }

    fn name(&mut self, held: &Held) {
        self.entitlements.push(held.entitlement.id.clone());
        self.names.push(held.entitlement.spiffe_id.clone());
    }
}

type Pair<'a> = (Option<&'a Held>, Option<&'a Held>);

/// What the two hold of the next name that one of them has; both are in order.
fn next_pair<'a>(
    old: &mut Peekable<impl Iterator<Item = (&'a EntitlementId, &'a Held)>>,
    new: &mut Peekable<impl Iterator<Item = (&'a EntitlementId, &'a Held)>>,
) -> Option<Pair<'a>> {
    let order = match (old.peek(), new.peek()) {
        (Some((old, _)), Some((new, _))) => old.cmp(new),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => return None,
    };
    let of_old = order.is_le().then(|| old.next()).flatten();
    let of_new = order.is_ge().then(|| new.next()).flatten();
    Some((of_old.map(|(_, held)| held), of_new.map(|(_, held)| held)))
}

fn is_same_right(old: &Held, new: &Held) -> bool {
    Arc::ptr_eq(&old.entitlement, &new.entitlement) || old.entitlement == new.entitlement
}

fn is_same<T>(old: Option<&Arc<T>>, new: Option<&Arc<T>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use countersign_discovery::Stamp;

    use super::*;
    use crate::pki::{Authority, right, serial};

    fn held(right: countersign_model::Entitlement) -> Held {
        Held {
            entitlement: Arc::new(right),
            svid: None,
            problem: None,
        }
    }

    fn of(entries: impl IntoIterator<Item = Held>) -> Snapshot {
        let entries = entries.into_iter();
        let entries = entries.map(|held| (held.entitlement.id.clone(), held));
        Snapshot {
            entries: Arc::new(entries.collect()),
            ..Snapshot::default()
        }
    }

    fn names(changes: &Changes) -> Vec<&str> {
        changes.names.iter().map(SpiffeId::as_str).collect()
    }

    #[test]
    fn renewal_changes_one_name_and_no_right() {
        let authority = Authority::new("root");
        let (web, db) = (held(right('1', "/web", 1)), held(right('2', "/db", 2)));
        let before = of([web.clone(), db.clone()]);
        let mut renewed = db;
        renewed.svid = Some(authority.svid(&renewed.entitlement.spiffe_id, serial(1)));
        let changes = Changes::between(&before, &of([web, renewed]));
        assert_eq!(names(&changes), ["spiffe://example.org/db"]);
        assert!(!changes.rights && !changes.bundle && !changes.knowledge);
    }

    #[test]
    fn rights_that_come_change_and_end_are_named() {
        let before = of([held(right('1', "/gone", 1)), held(right('3', "/stays", 1))]);
        let other = held(right('3', "/stays", 2));
        let after = of([other, held(right('2', "/new", 1))]);
        let changes = Changes::between(&before, &after);
        let paths = ["gone", "new", "stays"].map(|name| format!("spiffe://example.org/{name}"));
        assert_eq!(names(&changes), paths);
        assert!(changes.rights);
    }

    #[test]
    fn problem_and_newer_state_concern_nobody() {
        let mut before = of([held(right('1', "/web", 1))]);
        before.stamp = Some(Stamp {
            epoch: 1,
            sequence: 1,
        });
        let mut web = held(right('1', "/web", 1));
        web.problem = Some("denied".into());
        let mut after = of([web]);
        after.stamp = Some(Stamp {
            epoch: 1,
            sequence: 2,
        });
        after.unsaved = Some("the disk is full".into());
        assert!(Changes::between(&before, &after).is_empty());
    }
}
