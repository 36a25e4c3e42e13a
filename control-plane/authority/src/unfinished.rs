//! Changes that the issuance log tells of and the store does not know, found at a start: the one that
//! a crash took away. It is judged purely, from the entries in their order; what is left is voided
//! ([`super::record`]). More than one such change is no crash but a store that is older than its log.

use std::collections::{BTreeMap, BTreeSet};

use countersign_ca::log::Noted;
use countersign_issue::profile::Profile;
use countersign_proto::log::Issued;
use countersign_proto::log::entry::What;
use countersign_refusal::Denied;
use jiff::Timestamp;

use super::AuthorityError;

/// Follows the entries of a log and keeps the changes that nothing accounts for, and the
/// certificates of CAs that came with them.
#[derive(Debug)]
pub(super) struct Unfinished {
    accounted: u64,
    /// Below it are entries of the log that a backup was made of.
    own: u64,
    noted: BTreeMap<u64, (Step, Timestamp)>,
    /// A CA that the state does not know has signed for others.
    is_older: bool,
}

/// What a change is made of, in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Certified,
    Rotated,
    Registered,
    Removed,
    Evicted,
    Unbanned,
    Waived,
    Unwaived,
    Sealed,
    Joined,
}

impl Step {
    fn of(what: &What) -> Option<Self> {
        match what {
            What::Registered(_) => Some(Self::Registered),
            What::Removed(_) => Some(Self::Removed),
            What::Rotated(_) => Some(Self::Rotated),
            What::Evicted(_) => Some(Self::Evicted),
            What::Unbanned(_) => Some(Self::Unbanned),
            What::Waived(_) => Some(Self::Waived),
            What::Unwaived(_) => Some(Self::Unwaived),
            What::Sealed(_) => Some(Self::Sealed),
            What::Joined(_) => Some(Self::Joined),
            What::Issued(issued) if is_of_ca(issued) => Some(Self::Certified),
            _ => None,
        }
    }

    /// Whether one change may log this step right after another. All steps of a kind are logged
    /// at one moment.
    fn may_follow((step, at): (Self, Timestamp), (before, then): (Self, Timestamp)) -> bool {
        match (before, step) {
            (Self::Certified, Self::Certified | Self::Rotated) => true,
            (Self::Rotated, Self::Rotated)
            | (Self::Registered, Self::Registered)
            | (Self::Removed, Self::Removed)
            | (Self::Waived, Self::Waived)
            | (Self::Joined, Self::Joined) => at == then,
            _ => false,
        }
    }
}

impl Unfinished {
    /// The store accounts for the entries below an index, and this log begins at another.
    pub(super) fn after(accounted: u64, own: u64) -> Self {
        Self {
            accounted,
            own,
            noted: BTreeMap::new(),
            is_older: false,
        }
    }

    /// Takes the next entry in. `knows` says whether the state has a CA.
    pub(super) fn see(&mut self, noted: &Noted, knows: impl FnOnce(&str) -> bool) {
        let (index, Some(what)) = (noted.index(), noted.what()) else {
            return;
        };
        // A CA that a lost control plane made after the backup was one, and its key may be in a
        // token that we share with it.
        let is_ours = index >= self.accounted.max(self.own);
        match what {
            What::Voided(voided) => {
                self.noted.remove(&voided.index);
            }
            What::Issued(issued) if !is_of_ca(issued) => {
                self.is_older |= is_ours && !knows(&issued.issuer);
            }
            What::Issued(_) if !is_ours => {}
            _ if index >= self.accounted => {
                let step = Step::of(what).map(|step| (step, noted.at()));
                self.noted.extend(step.map(|step| (index, step)));
            }
            _ => {}
        }
    }

    /// Whether nothing accounts for the entry at this index, as far as is known.
    pub(super) fn contains(&self, index: u64) -> bool {
        self.noted.contains_key(&index)
    }

    /// What is left: the one change that a crash took away, and in a copy of a log what the copy
    /// of the state is older than.
    ///
    /// # Errors
    /// It is more than a crash leaves: what it tells of was done, and is in use.
    pub(super) fn judged(self) -> Result<BTreeSet<u64>, AuthorityError> {
        if self.is_older || self.changes() > 1 {
            return Err(older_than_log());
        }
        Ok(self.noted.into_keys().collect())
    }

    fn changes(&self) -> usize {
        let ours = self.noted.range(self.accounted.max(self.own)..);
        let steps: Vec<_> = ours.map(|(_, step)| *step).collect();
        let mut begun = usize::from(!steps.is_empty());
        for pair in steps.windows(2) {
            begun += usize::from(!Step::may_follow(pair[1], pair[0]));
        }
        begun
    }
}

/// The state was put back as it was before changes that were made since.
pub(super) fn older_than_log() -> AuthorityError {
    AuthorityError::Denied(Denied {
        code: "state_older_than_log",
        message: "the database is older than the issuance log beside it; nothing was changed"
            .to_owned(),
        remedy: "put the newest database back, or restore a backup with `countersign restore`",
    })
}

fn is_of_ca(issued: &Issued) -> bool {
    Profile::named(&issued.profile).is_some_and(Profile::is_ca)
}

#[cfg(test)]
mod tests {
    use countersign_proto::log::{
        Evicted, Joined, Registered, Removed, Rotated, Sealed, Voided, Waived,
    };

    use super::*;

    fn certified(profile: &str) -> What {
        What::Issued(Issued {
            profile: profile.to_owned(),
            ..Issued::default()
        })
    }

    /// How many changes there are in entries of these moments.
    fn changes(entries: Vec<(What, i64)>) -> usize {
        let mut unfinished = Unfinished::after(0, 0);
        for (index, (what, second)) in (0..).zip(entries) {
            let at = Timestamp::from_second(second).unwrap();
            let what = Some(what);
            unfinished.see(&Noted::for_test(index, at, what), |_| true);
        }
        unfinished.changes()
    }

    #[test]
    fn changes_are_told_apart() {
        let registered = || What::Registered(Registered::default());
        let removed = || What::Removed(Removed::default());
        let rotated = || What::Rotated(Rotated::default());
        let (ca, leaf) = (|| certified("issuing-ca"), || certified("x509-svid"));
        let void = |index| What::Voided(Voided { index });
        assert_eq!(changes(vec![(leaf(), 0)]), 0);
        assert_eq!(changes(vec![(registered(), 0), (leaf(), 1)]), 1);
        assert_eq!(changes(vec![(registered(), 0), (registered(), 0)]), 1);
        assert_eq!(changes(vec![(registered(), 0), (registered(), 1)]), 2);
        assert_eq!(changes(vec![(registered(), 0), (removed(), 0)]), 2);
        assert_eq!(
            changes(vec![(removed(), 0), (leaf(), 1), (removed(), 0)]),
            1
        );
        assert_eq!(changes(vec![(removed(), 0), (removed(), 1)]), 2);
        let rotation = vec![(ca(), 0), (ca(), 0), (rotated(), 0), (rotated(), 0)];
        assert_eq!(changes(rotation), 1);
        assert_eq!(changes(vec![(rotated(), 0), (rotated(), 1)]), 2);
        assert_eq!(changes(vec![(rotated(), 0), (ca(), 0)]), 2);
        assert_eq!(changes(vec![(ca(), 0), (registered(), 0)]), 2);
        let evicted = || What::Evicted(Evicted::default());
        let waived = || What::Waived(Waived::default());
        assert_eq!(changes(vec![(waived(), 0), (waived(), 0)]), 1);
        assert_eq!(changes(vec![(waived(), 0), (waived(), 1)]), 2);
        assert_eq!(changes(vec![(evicted(), 0), (evicted(), 0)]), 2);
        let sealed = || What::Sealed(Sealed::default());
        let joined = || What::Joined(Joined::default());
        assert_eq!(changes(vec![(sealed(), 0), (sealed(), 0)]), 2);
        assert_eq!(changes(vec![(joined(), 0), (joined(), 0)]), 1);
        assert_eq!(changes(vec![(joined(), 0), (sealed(), 0)]), 2);
        let voided = vec![(registered(), 0), (void(0), 1), (registered(), 2)];
        assert_eq!(changes(voided), 1);
    }
}
