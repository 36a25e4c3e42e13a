//! When each credential is enrolled and renewed: a pure decision.
//!
//! The moment of a renewal is drawn once for each credential, inside the window that its
//! entitlement names. The draw comes from the random half of the serial, so that it is the same
//! after a restart and differs over the fleet, and nothing has to be remembered. What failed is
//! retried for ever, also after it expired.

use countersign_model::{Entitlement, EntitlementId, Lifetime, Serial};
use jiff::Timestamp;

/// Most renewals of one credential in the time of its lifetime, whatever the clocks say.
const MOST_RENEWALS: u32 = 60;

/// One entitlement and how it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    /// The right.
    pub(crate) entitlement: &'a Entitlement,
    /// The credential that is installed for it.
    pub(crate) held: Option<Credential>,
    /// Somebody wants it now: a caller, or a listener of our own proxy.
    pub(crate) demanded: bool,
    /// An enrolment is under way or failed: nothing is started before this moment.
    pub(crate) not_before: Option<Timestamp>,
}

/// What the schedule has to know of an installed credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    /// The serial of the leaf.
    pub(crate) serial: Serial,
    /// From issue to NotAfter.
    pub(crate) lifetime: Lifetime,
    /// The entitlement's `min_key_epoch` when the key was made.
    pub(crate) key_epoch: u64,
    /// When it was installed, where that was in this process.
    pub(crate) installed_at: Option<Timestamp>,
    /// No root of the bundle has issued it any more: who has that bundle refuses it.
    pub(crate) lost_its_root: bool,
}

/// What to do now, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Enrolments to start, the most urgent first.
    pub(crate) enrol: Vec<EntitlementId>,
    /// The next moment at which there is something to start.
    pub(crate) wake: Option<Timestamp>,
}

/// Decides over all entitlements. `ahead` entitlements, the default first, then by age, are
/// enrolled ahead of demand; the others once they are demanded.
pub(crate) fn plan(items: &[Item<'_>], ahead: usize, now: Timestamp) -> Plan {
    let mut by_rank: Vec<_> = items.iter().collect();
    by_rank.sort_by(|a, b| {
        a.entitlement
            .enrolment_order()
            .cmp(&b.entitlement.enrolment_order())
    });
    let ahead = places(by_rank.iter().map(|item| item.entitlement), ahead);
    let mut due: Vec<_> = by_rank
        .iter()
        .enumerate()
        .filter_map(|(place, item)| Some((item.due(place < ahead, now)?, item)))
        .collect();
    // The sort is stable: what is due at the same moment keeps its rank.
    due.sort_by_key(|(due, _)| *due);
    let split = due.partition_point(|(due, _)| *due <= Due::At(now));
    Plan {
        enrol: due[..split]
            .iter()
            .map(|(_, item)| item.entitlement.id.clone())
            .collect(),
        wake: due.get(split).and_then(|(due, _)| due.moment()),
    }
}

/// Of the entitlements, how many are enrolled ahead of demand: the node's own is whatever the cap, and
/// takes no place under it.
fn places<'a>(rights: impl Iterator<Item = &'a Entitlement>, ahead: usize) -> usize {
    ahead + rights.filter(|right| right.is_node()).count()
}

/// When something has to be started; what is due at once comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    AtOnce,
    At(Timestamp),
}

impl Due {
    fn moment(self) -> Option<Timestamp> {
        match self {
            Self::AtOnce => None,
            Self::At(moment) => Some(moment),
        }
    }
}

impl Item<'_> {
    /// When something has to be started; `None` where this identity is not wanted.
    fn due(&self, ahead: bool, now: Timestamp) -> Option<Due> {
        let natural = match &self.held {
            Some(held) if held.lost_its_root => Due::AtOnce,
            // Not only of an older one: after a restore epochs go back, and rise again from there.
            Some(held) if held.key_epoch != self.entitlement.min_key_epoch => Due::AtOnce,
            Some(held) => {
                let renewal = self.entitlement.renewal(&held.serial, &held.lifetime);
                let rest = held.rest(self.entitlement, now);
                Due::At(rest.map_or(renewal, |rest| renewal.max(rest)))
            }
            None if ahead || self.demanded => Due::AtOnce,
            None => return None,
        };
        Some(
            self.not_before
                .map_or(natural, |at| natural.max(Due::At(at))),
        )
    }
}

impl Credential {
    /// Until when it is not renewed again, whatever the clocks say: where they disagree, what has just
    /// been issued is due at once, and would be renewed without end. Half of the usual time before a
    /// renewal, or of what is left by our clock; no shorter than a sixtieth of the lifetime.
    fn rest(&self, entitlement: &Entitlement, now: Timestamp) -> Option<Timestamp> {
        // A clock that was set back since says nothing about when that was.
        let installed_at = self.installed_at.filter(|at| *at <= now)?;
        let usual = entitlement.renew.moment(&self.lifetime, 0.0);
        let usual = usual.duration_since(self.lifetime.issued_at).unsigned_abs();
        let half = usual.min(self.lifetime.remaining(installed_at)) / 2;
        let shortest = usual.min(self.lifetime.length() / MOST_RENEWALS);
        installed_at.checked_add(half.max(shortest)).ok()
    }
}

#[cfg(test)]
mod tests;
