//! Changes of state that the issuance log tells of.
//!
//! The entry is durable first, then the change is committed; nothing is acknowledged before both.
//! A change that a crash or a failed commit takes away is voided by a later entry, so that a reader
//! of the log never takes an intention for a fact. Such changes happen one at a time. Certificates
//! that nobody was given are voided in the same way ([`super::undelivered`]). Which changes a crash took
//! away is found at a start ([`super::unfinished`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_model::Seq;
use countersign_proto::log::entry::What;
use countersign_refusal::Unavailable;
use countersign_store::{Commit, Kind, Precondition, StoreError, Write};
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::{MutexGuard, oneshot};
use tokio::time::{sleep, timeout};

use super::state::{Change, State};
use super::{Authority, AuthorityError};

/// Key in the store: how many entries of the log are accounted for by commits.
pub(super) const ACCOUNTED: &str = "log_accounted";

/// Key in the store: written by every act of an operator, on whichever control plane, so that each is
/// judged by a state that knows those before it.
pub(super) const ACTS: &str = "acts";

/// An act that another control plane overtakes is judged so often.
const ACT_TRIES: u32 = 24;
/// How much longer it waits each time before it is judged again.
const AGAIN_AFTER: Duration = Duration::from_millis(2);

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

    /// Runs an act to its end, and once more from its beginning where another control plane changed the
    /// state while it was judged: then by the state that knows of that.
    pub(super) async fn act<T, F>(
        &self,
        attempt: impl Fn(Arc<Self>) -> F + Send + 'static,
    ) -> Result<T, AuthorityError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AuthorityError>> + Send + 'static,
    {
        self.to_the_end(async move |this| {
            for tries in 1..ACT_TRIES {
                match attempt(Arc::clone(&this)).await {
                    // What overtook it was taken before the answer. Whoever is slower gets room.
                    Err(AuthorityError::Overtaken) => sleep(AGAIN_AFTER * tries).await,
                    done => return done,
                }
            }
            attempt(this).await
        })
        .await
    }

    /// Logs what is about to change, then makes the change durable and takes it, if nothing was changed
    /// by an operator meanwhile that is not known here. `before` looks at the state that ends with the
    /// change. Says at which index the first entry is. The caller holds `writing`.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        what: Vec<What>,
        changes: Vec<Change>,
        mut preconditions: Vec<Precondition>,
        before: impl FnOnce(&State) -> T + Send + 'static,
        now: Timestamp,
    ) -> Result<(u64, T), NotCommitted> {
        let mut writes: Vec<_> = changes.iter().map(Change::write).collect();
        let (precondition, act) = self.next_act();
        preconditions.push(precondition);
        writes.push(act);
        let take = move |this: &Self, seq| {
            this.state.write().acts = Some(seq);
            this.take(seq, changes, before)
        };
        self.commit_logged(what, writes, preconditions, take, now)
            .await
    }

    /// Makes a change durable that the log is not told of, and takes it.
    pub(super) async fn change_unlogged(
        &self,
        changes: Vec<Change>,
        preconditions: Vec<Precondition>,
    ) -> Result<Seq, StoreError> {
        let writes = changes.iter().map(Change::write).collect();
        let commit = Commit {
            writes,
            preconditions,
            ..Commit::default()
        };
        let take = |this: &Self, seq| {
            this.take(seq, changes, |_| ());
            seq
        };
        self.commit_then(commit, take).await
    }

    /// The same for what an operator or the time changes: if nothing of that kind was changed meanwhile
    /// that is not known here. The caller holds `writing`.
    pub(super) async fn act_unlogged(&self, changes: Vec<Change>) -> Result<Seq, StoreError> {
        self.act_unlogged_if(changes, Vec::new()).await
    }

    /// The same, if something else holds too.
    pub(super) async fn act_unlogged_if(
        &self,
        changes: Vec<Change>,
        mut preconditions: Vec<Precondition>,
    ) -> Result<Seq, StoreError> {
        let mut writes: Vec<_> = changes.iter().map(Change::write).collect();
        let (precondition, act) = self.next_act();
        writes.push(act);
        preconditions.push(precondition);
        let commit = Commit {
            writes,
            preconditions,
            ..Commit::default()
        };
        let take = |this: &Self, seq| {
            this.state.write().acts = Some(seq);
            this.take(seq, changes, |_| ());
            seq
        };
        self.commit_then(commit, take).await
    }

    /// What an act of an operator writes beside its change, and what must hold for it: it is judged by a
    /// state in which every act before it was taken.
    fn next_act(&self) -> (Precondition, Write) {
        let key = ACTS.to_owned();
        let precondition = match self.state.read().acts {
            Some(seq) => Precondition::Unchanged(Kind::Meta, key, seq),
            None => Precondition::Absent(Kind::Meta, key),
        };
        (precondition, Write::put(Kind::Meta, ACTS, &true))
    }

    /// Commits, and has `take` called in the order of commits, before whoever commits next.
    pub(super) async fn commit_then<T: Send + 'static>(
        &self,
        commit: Commit,
        take: impl FnOnce(&Self, Seq) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tell, told) = oneshot::channel();
        let this = self.this.clone();
        let then = move |seq| {
            if let Some(this) = this.upgrade() {
                // Who asked may have gone away.
                let _ = tell.send(take(&this, seq));
            }
        };
        self.store.commit_then(commit, then).await?;
        told.await.map_err(|_| StoreError::Stopped)
    }

    pub(super) fn take<T>(
        &self,
        seq: Seq,
        changes: Vec<Change>,
        before: impl FnOnce(&State) -> T,
    ) -> T {
        for change in &changes {
            if let Change::Registration(_, Some(kept)) = change {
                self.ledger.registered(&kept.registration);
            }
        }
        self.state.take(seq, changes, before)
    }

    /// Logs what is about to change, then commits it if every precondition holds, and has `take` called
    /// in the order of commits. Says at which index the first entry is. The caller holds `writing`.
    pub(super) async fn commit_logged<T: Send + 'static>(
        &self,
        what: Vec<What>,
        mut writes: Vec<Write>,
        preconditions: Vec<Precondition>,
        take: impl FnOnce(&Self, Seq) -> T + Send + 'static,
        now: Timestamp,
    ) -> Result<(u64, T), NotCommitted> {
        self.begin_change(now).await?;
        let noted = self.note_all(what, now).await?;
        let first = noted.iter().min().copied().unwrap_or_default();
        let accounted = noted.iter().max().map(|last| last + 1);
        if let Some(accounted) = accounted {
            let key = self.facts.key(ACCOUNTED);
            writes.push(Write::put(Kind::Meta, key, &accounted));
        }
        let commit = Commit {
            writes,
            preconditions,
            ..Commit::default()
        };
        match self.commit_then(commit, take).await {
            Ok(taken) => {
                if let Some(accounted) = accounted {
                    self.ledger.account_for(accounted);
                }
                Ok((first, taken))
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
