//! Changes of state that the issuance log tells of.
//!
//! The entry is durable first, then the change is committed; nothing is acknowledged before both.
//! A change that a crash or a failed commit takes away is voided by a later entry, so that a reader
//! of the log never takes an intention for a fact. Such changes happen one at a time. Certificates
//! that nobody was given are voided in the same way ([`super::undelivered`]). Which changes a crash took
//! away is found at a start ([`super::unfinished`]).

use std::collections::BTreeSet;
use std::time::Duration;

use countersign_model::Seq;
use countersign_proto::log::entry::What;
use countersign_refusal::Unavailable;
use countersign_store::{Kind, Precondition, StoreError, Write};
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::state::{Change, State};
use super::{Authority, AuthorityError};

/// Key in the store: how many entries of the log are accounted for by commits.
pub(super) const ACCOUNTED: &str = "log_accounted";

/// How long a change waits for those before it.
const TURN_WITHIN: Duration = Duration::from_secs(20);

impl Authority {
    /// Waits for the changes before this one, of which one is made at a time. Not for ever: one of them
    /// may wait for a database that is away to say what became of it.
    pub(super) async fn turn(&self) -> Result<MutexGuard<'_, ()>, Unavailable> {
        let turn = timeout(TURN_WITHIN, self.writing.lock()).await;
        turn.map_err(|_| {
            let seconds = TURN_WITHIN.as_secs();
            Unavailable::retry(format!(
                "a change before this one was not decided within {seconds} s"
            ))
        })
    }

    /// Logs what is about to change, then makes the change durable and takes it. `before` looks at the
    /// state that ends with the change. Says at which index the first entry is. The caller holds
    /// `writing`.
    pub(super) async fn change<T>(
        &self,
        what: Vec<What>,
        changes: Vec<Change>,
        before: impl FnOnce(&State) -> T,
        now: Timestamp,
    ) -> Result<(u64, T), NotCommitted> {
        let writes = changes.iter().map(Change::write).collect();
        let committed = self.commit_logged(what, writes, Vec::new(), now).await;
        let (index, seq) = committed?;
        Ok((index, self.take(seq, changes, before)))
    }

    /// Makes a change durable that the log is not told of, and takes it.
    pub(super) async fn change_unlogged(
        &self,
        changes: Vec<Change>,
        preconditions: Vec<Precondition>,
    ) -> Result<Seq, StoreError> {
        let writes = changes.iter().map(Change::write).collect();
        let seq = self.store.commit(writes, preconditions).await?;
        self.take(seq, changes, |_| ());
        Ok(seq)
    }

    fn take<T>(&self, seq: Seq, changes: Vec<Change>, before: impl FnOnce(&State) -> T) -> T {
        for change in &changes {
            if let Change::Registration(_, Some(kept)) = change {
                self.ledger.registered(&kept.registration);
            }
        }
        self.state.take(seq, changes, before)
    }

    /// Logs what is about to change, then commits it if every precondition holds. Says at which index the first entry is. The caller
    /// holds `writing`.
    pub(super) async fn commit_logged(
        &self,
        what: Vec<What>,
        mut writes: Vec<Write>,
        preconditions: Vec<Precondition>,
        now: Timestamp,
    ) -> Result<(u64, Seq), NotCommitted> {
        self.begin_change(now).await?;
        let noted = self.note_all(what, now).await?;
        let first = noted.iter().min().copied().unwrap_or_default();
        if let Some(last) = noted.iter().max() {
            writes.push(Write::put(
                Kind::Meta,
                self.facts.key(ACCOUNTED),
                &(last + 1),
            ));
        }
        match self.store.commit(writes, preconditions).await {
            Ok(seq) => {
                if let Some(last) = noted.iter().max() {
                    self.ledger.account_for(last + 1);
                }
                Ok((first, seq))
            }
            Err(error) => {
                // A store that stopped may have kept the commit all the same: the next start
                // finds out.
                let is_open = matches!(error, StoreError::Stopped);
                if !is_open {
                    self.ledger.void(&noted, now).await;
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
        Ok(self.ledger.void_pending(now).await?)
    }

    /// Makes entries durable together, with as few fsyncs as there are batches.
    async fn note_all(&self, what: Vec<What>, now: Timestamp) -> Result<Vec<u64>, AuthorityError> {
        let notes = what
            .into_iter()
            .map(|what| self.ledger.log().note(now, what));
        let (noted, failed): (Vec<_>, Vec<_>) =
            join_all(notes).await.into_iter().partition(Result::is_ok);
        let noted: Vec<_> = noted.into_iter().flatten().collect();
        match failed.into_iter().find_map(Result::err) {
            None => Ok(noted),
            Some(error) => {
                self.ledger.void(&noted, now).await;
                Err(error.into())
            }
        }
    }

    /// After a crash: entries that announce a change which was never committed.
    pub(super) async fn void_unfinished(&self, noted: BTreeSet<u64>, now: Timestamp) {
        let noted: Vec<_> = noted.into_iter().collect();
        self.ledger.void(&noted, now).await;
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
