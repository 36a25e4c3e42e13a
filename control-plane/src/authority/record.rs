//! Changes of state that the issuance log tells of.
//!
//! The entry is durable first, then the change is committed; nothing is acknowledged before both.
//! A change that a crash or a failed commit takes away is voided by a later entry, so that a reader
//! of the log never takes an intention for a fact. Such changes happen one at a time.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use countersign_proto::log::Voided;
use countersign_proto::log::entry::What;
use futures_util::future::join_all;
use jiff::Timestamp;
use tracing::error;

use super::{Authority, AuthorityError};
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
    ) -> Result<(u64, Seq), AuthorityError> {
        if self.store.is_stopped() {
            return Err(StoreError::Stopped.into());
        }
        self.void_pending(now).await?;
        let noted = self.note_all(what, now).await?;
        let first = noted.iter().min().copied().unwrap_or_default();
        let mut writes = writes(first);
        if let Some(last) = noted.iter().max() {
            writes.push(Write::put(Kind::Meta, ACCOUNTED, &(last + 1)));
        }
        match self.store.commit(writes, preconditions).await {
            Ok(seq) => Ok((first, seq)),
            Err(error) => {
                self.refused_by_store(&noted, &error, now).await;
                Err(error.into())
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

    /// A store that stopped may have kept the commit all the same: the next start finds out.
    async fn refused_by_store(&self, noted: &[u64], error: &StoreError, now: Timestamp) {
        if !matches!(error, StoreError::Stopped) {
            self.void(noted, now).await;
        }
    }

    /// What cannot be voided now is voided before the next change, or at the next start.
    async fn void(&self, noted: &[u64], now: Timestamp) {
        self.unvoided().extend(noted);
        if let Err(error) = self.void_pending(now).await {
            error!(%error, "entries of the issuance log were not voided");
        }
    }

    async fn void_pending(&self, now: Timestamp) -> Result<(), AuthorityError> {
        loop {
            let Some(index) = self.unvoided().first().copied() else {
                return Ok(());
            };
            self.log.note(now, What::Voided(Voided { index })).await?;
            self.unvoided().remove(&index);
        }
    }

    /// Entries that announce a change that was not made, and are not voided yet.
    pub(super) fn unvoided(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.unvoided.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the entries of a log and keeps the changes that nothing accounts for.
#[derive(Debug)]
pub(super) struct Unfinished {
    accounted: u64,
    noted: BTreeSet<u64>,
}

impl Unfinished {
    /// The store accounts for the entries below this index.
    pub(super) fn after(accounted: u64) -> Self {
        Self {
            accounted,
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
            What::Voided(voided) => {
                self.noted.remove(&voided.index);
            }
            _ => {}
        }
    }

    /// What is left.
    pub(super) fn into_noted(self) -> BTreeSet<u64> {
        self.noted
    }
}
