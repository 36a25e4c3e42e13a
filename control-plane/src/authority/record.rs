//! Changes of state that the issuance log tells of.
//!
//! The entry is durable first, then the change is committed; nothing is acknowledged before both.
//! A change that a crash or a failed commit takes away is voided by a later entry, so that a reader
//! of the log never takes an intention for a fact. Such changes happen one at a time. Certificates
//! that nobody was given are voided in the same way ([`super::withheld`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use countersign_proto::log::entry::What;
use countersign_proto::log::{Issued, Voided};
use countersign_tlog::LogError;
use futures_util::future::join_all;
use jiff::Timestamp;
use tracing::error;

use super::{Authority, AuthorityError, Denied};
use crate::ca::log::Noted;
use crate::issue::profile::Profile;
use crate::store::{Change as Write, Kind, Precondition, Seq, StoreError};

/// Key in the store: how many entries of the log are accounted for by commits.
pub(super) const ACCOUNTED: &str = "log_accounted";

/// Most entries that wait to be voided: with so many nothing more is signed.
const MAX_UNVOIDED: usize = 4_096;

impl Authority {
    /// Logs what is about to change, then commits it. `writes` is told the index of the first
    /// entry. The caller holds `writing`.
    pub(super) async fn commit_logged(
        &self,
        what: Vec<What>,
        writes: impl FnOnce(u64) -> Vec<Write>,
        preconditions: Vec<Precondition>,
        now: Timestamp,
    ) -> Result<(u64, Seq), NotCommitted> {
        self.begin_change(now).await?;
        let noted = self.note_all(what, now).await?;
        let first = noted.iter().min().copied().unwrap_or_default();
        let mut writes = writes(first);
        if let Some(last) = noted.iter().max() {
            writes.push(Write::put(Kind::Meta, ACCOUNTED, &(last + 1)));
        }
        match self.store.commit(writes, preconditions).await {
            Ok(seq) => {
                if let Some(last) = noted.iter().max() {
                    self.accounted.store(last + 1, Ordering::Release);
                }
                Ok((first, seq))
            }
            Err(error) => {
                // A store that stopped may have kept the commit all the same: the next start
                // finds out.
                let is_open = matches!(error, StoreError::Stopped);
                if !is_open {
                    self.void(&noted, now).await;
                }
                let error = error.into();
                Err(NotCommitted { error, is_open })
            }
        }
    }

    /// Before the first entry of a change: of the changes before it none is left open, so that a
    /// crash leaves one at most. The caller holds `writing`.
    pub(super) async fn begin_change(&self, now: Timestamp) -> Result<(), AuthorityError> {
        if self.store.is_stopped() {
            return Err(StoreError::Stopped.into());
        }
        Ok(self.void_pending(now).await?)
    }

    /// Makes entries durable together, with as few fsyncs as there are batches.
    async fn note_all(&self, what: Vec<What>, now: Timestamp) -> Result<Vec<u64>, AuthorityError> {
        let notes = what.into_iter().map(|what| self.log.note(now, what));
        let (noted, failed): (Vec<_>, Vec<_>) =
            join_all(notes).await.into_iter().partition(Result::is_ok);
        let noted: Vec<_> = noted.into_iter().flatten().collect();
        match failed.into_iter().find_map(Result::err) {
            None => Ok(noted),
            Some(error) => {
                self.void(&noted, now).await;
                Err(error.into())
            }
        }
    }

    /// After a crash: entries that announce a change which was never committed.
    pub(super) async fn void_unfinished(&self, noted: BTreeSet<u64>, now: Timestamp) {
        let noted: Vec<_> = noted.into_iter().collect();
        self.void(&noted, now).await;
    }

    /// What cannot be voided now is voided before the next change, with the next tick or at the
    /// end.
    pub(super) async fn void(&self, noted: &[u64], now: Timestamp) {
        self.unvoided().indexes.extend(noted);
        if let Err(error) = self.void_pending(now).await {
            error!(%error, "entries of the issuance log were not voided");
        }
    }

    /// Voids what could not be voided before.
    pub(super) async fn void_pending(&self, now: Timestamp) -> Result<(), LogError> {
        // So that nothing is voided twice.
        let _one_at_a_time = self.voiding.lock().await;
        loop {
            let Some(index) = self.unvoided().indexes.first().copied() else {
                return Ok(());
            };
            self.log.note(now, What::Voided(Voided { index })).await?;
            self.unvoided().indexes.remove(&index);
        }
    }

    /// Before a certificate is logged: whether it could be remembered as void. Those under way come
    /// on top of the bound, each was within it when it began.
    ///
    /// # Errors
    /// Too many wait for the log to take their voids.
    pub(super) fn check_voids(&self) -> Result<(), AuthorityError> {
        let unvoided = self.unvoided();
        if unvoided.indexes.len() < unvoided.most {
            return Ok(());
        }
        Err(AuthorityError::Unavailable(format!(
            "{} entries of the issuance log wait to be voided; nothing is signed before it takes that",
            unvoided.indexes.len()
        )))
    }

    /// Entries that are void and not voided in the log yet.
    pub(super) fn unvoided(&self) -> MutexGuard<'_, Unvoided> {
        self.unvoided.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Entries that are void and not voided in the log yet.
#[derive(Debug)]
pub(super) struct Unvoided {
    pub(super) indexes: BTreeSet<u64>,
    /// See [`MAX_UNVOIDED`].
    pub(super) most: usize,
}

impl Default for Unvoided {
    fn default() -> Self {
        Self {
            indexes: BTreeSet::new(),
            most: MAX_UNVOIDED,
        }
    }
}

/// A change that was logged, or was about to be, and is not acknowledged.
#[derive(Debug)]
pub(super) struct NotCommitted {
    error: AuthorityError,
    /// Whether the store may have kept it all the same.
    pub(super) is_open: bool,
}

impl From<AuthorityError> for NotCommitted {
    fn from(error: AuthorityError) -> Self {
        Self {
            error,
            is_open: false,
        }
    }
}

impl From<NotCommitted> for AuthorityError {
    fn from(not_committed: NotCommitted) -> Self {
        not_committed.error
    }
}

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
}

impl Step {
    fn of(what: &What) -> Option<Self> {
        match what {
            What::Registered(_) => Some(Self::Registered),
            What::Removed(_) => Some(Self::Removed),
            What::Rotated(_) => Some(Self::Rotated),
            What::Issued(issued) if is_of_ca(issued) => Some(Self::Certified),
            _ => None,
        }
    }

    /// Whether one change may log this step right after another. All steps of a kind are logged
    /// at one moment.
    fn may_follow((step, at): (Self, Timestamp), (before, then): (Self, Timestamp)) -> bool {
        match (before, step) {
            (Self::Certified, Self::Certified | Self::Rotated) => true,
            (Self::Rotated, Self::Rotated) | (Self::Removed, Self::Removed) => at == then,
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
        let (index, Some(what)) = (noted.index, &noted.what) else {
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
                let step = Step::of(what).map(|step| (step, noted.at));
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
    use countersign_proto::log::{Registered, Removed, Rotated};

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
            unfinished.see(&Noted { index, at, what }, |_| true);
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
        assert_eq!(changes(vec![(registered(), 0), (registered(), 0)]), 2);
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
        let voided = vec![(registered(), 0), (void(0), 1), (registered(), 2)];
        assert_eq!(changes(voided), 1);
    }
}
