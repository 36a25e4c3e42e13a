//! Changes of state that the issuance log tells of.
//!
//! The entry is durable first, then the change is committed; nothing is acknowledged before both.
//! A change that a crash or a failed commit takes away is voided by a later entry, so that a reader
//! of the log never takes an intention for a fact. Such changes happen one at a time. Certificates
//! that nobody was given are voided in the same way ([`super::withheld`]).

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use countersign_proto::log::entry::What;
use countersign_proto::log::{Issued, Voided};
use countersign_tlog::LogError;
use futures_util::future::join_all;
use jiff::Timestamp;
use tracing::error;

use super::{Authority, AuthorityError};
use crate::issue::profile::Profile;
use crate::store::{Change as Write, Kind, Precondition, Seq, StoreError};

/// Key in the store: how many entries of the log are accounted for by commits.
pub(super) const ACCOUNTED: &str = "log_accounted";

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
        if self.store.is_stopped() {
            return Err(AuthorityError::from(StoreError::Stopped).into());
        }
        self.void_pending(now).await.map_err(AuthorityError::from)?;
        let noted = self.note_all(what, now).await?;
        let first = noted.iter().min().copied().unwrap_or_default();
        let mut writes = writes(first);
        if let Some(last) = noted.iter().max() {
            writes.push(Write::put(Kind::Meta, ACCOUNTED, &(last + 1)));
        }
        match self.store.commit(writes, preconditions).await {
            Ok(seq) => Ok((first, seq)),
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
        self.unvoided().extend(noted);
        if let Err(error) = self.void_pending(now).await {
            error!(%error, "entries of the issuance log were not voided");
        }
    }

    /// Voids what could not be voided before.
    pub(super) async fn void_pending(&self, now: Timestamp) -> Result<(), LogError> {
        // So that nothing is voided twice.
        let _one_at_a_time = self.voiding.lock().await;
        loop {
            let Some(index) = self.unvoided().first().copied() else {
                return Ok(());
            };
            self.log.note(now, What::Voided(Voided { index })).await?;
            self.unvoided().remove(&index);
        }
    }

    /// Entries that are void and not voided in the log yet.
    pub(super) fn unvoided(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.unvoided.lock().unwrap_or_else(PoisonError::into_inner)
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
    noted: BTreeSet<u64>,
}

impl Unfinished {
    /// The store accounts for the entries below an index, and this log begins at another.
    pub(super) fn after(accounted: u64, own: u64) -> Self {
        Self {
            accounted,
            own,
            noted: BTreeSet::new(),
        }
    }

    /// Takes the next entry in.
    pub(super) fn see(&mut self, index: u64, what: &What) {
        match what {
            What::Registered(_) | What::Removed(_) | What::Rotated(_)
                if index >= self.accounted =>
            {
                self.noted.insert(index);
            }
            // A CA that a lost control plane made after the backup was one, and its key may be
            // in a token that we share with it.
            What::Issued(issued) if index >= self.accounted.max(self.own) && is_of_ca(issued) => {
                self.noted.insert(index);
            }
            What::Voided(voided) => {
                self.noted.remove(&voided.index);
            }
            _ => {}
        }
    }

    /// Whether nothing accounts for the entry at this index, as far as is known.
    pub(super) fn contains(&self, index: u64) -> bool {
        self.noted.contains(&index)
    }

    /// What is left.
    pub(super) fn into_noted(self) -> BTreeSet<u64> {
        self.noted
    }
}

fn is_of_ca(issued: &Issued) -> bool {
    Profile::named(&issued.profile).is_some_and(Profile::is_ca)
}
