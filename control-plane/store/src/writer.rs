//! The one writer: commits whatever waits in its queue as one transaction, with one fsync.
//!
//! A job is answered after the transaction that holds it is durable and everything up to it was handed over
//! ([`handing`](crate::handing)). When the transaction fails every job in it fails. Where a commit may be
//! kept though it failed, that is found out before anybody is answered ([`settling`]). The writer stops for
//! good where it is not known any more what the database holds, and where what others committed cannot be
//! handed over any more ([`others`]).

mod jobs;
mod others;
mod settling;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_model::Seq;
use countersign_refusal::RefusedWrites;
use countersign_telemetry::{Principal, peer_line};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub(crate) use self::jobs::Job;
use self::jobs::{Callers, fitting, parted};
use self::others::told_of_others;
use self::settling::{SETTLE_WITHIN, settle};
use crate::database::{Database, Failed, Fate, Places, last};
use crate::handing::{HandOver, Handing};
use crate::{Commit, DatabaseError, StoreError};

/// Most jobs that share a transaction.
const BATCH: usize = 256;

/// What is known of the writer without asking it.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    /// Whether the database takes what is written.
    pub(crate) refused: RefusedWrites,
    /// Whether it is read what others committed.
    pub(crate) behind: RefusedWrites,
    /// Whether it is not known yet what became of a batch.
    pub(crate) is_undecided: AtomicBool,
    /// Whether the writer stopped because what was committed is not there any more.
    pub(crate) is_older: AtomicBool,
}

/// Where the writer is asked.
pub(crate) struct Asked {
    pub(crate) jobs: mpsc::Receiver<Job>,
    /// Apart from the jobs, which are refused while one before them is undecided.
    pub(crate) hand_over: mpsc::Receiver<HandOver>,
}

/// A database, and how far its commits are handed over.
pub(crate) struct Writer<D> {
    database: D,
    condition: Arc<Condition>,
    handing: Handing,
    /// The newest commit, where others make some.
    newest: Option<watch::Receiver<Seq>>,
    /// What others committed is not read before, where that failed.
    read_again: Option<Instant>,
    /// How long a batch may stay undecided.
    pub(crate) settle_within: Duration,
}

/// Why a batch is not acknowledged.
enum NotMade {
    /// Nothing of it is kept.
    Refused(DatabaseError),
    /// It is not known, or cannot be handed over: the writer stops, and has told why.
    Stopped,
}

/// What the writer does next.
enum Next {
    Begin(HandOver),
    Jobs,
    Others,
    End,
}

impl<D: Database> Writer<D> {
    /// `newest` tells of the newest commit of all, where others make some.
    pub(crate) fn new(
        database: D,
        condition: Arc<Condition>,
        handing: Handing,
        newest: Option<watch::Receiver<Seq>>,
    ) -> Self {
        Self {
            database,
            condition,
            handing,
            newest,
            read_again: None,
            settle_within: SETTLE_WITHIN,
        }
    }

    /// Runs until every sender is gone or the writer stops.
    pub(crate) async fn run(mut self, mut asked: Asked) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let goes_on = match self.next(&mut asked, &mut batch).await {
                Next::Begin(begun) => self.begin(begun, &mut asked.jobs),
                Next::Jobs => self.serve_all(&mut batch, &mut asked.jobs).await,
                Next::Others => self.hand_others(&mut asked.jobs).await,
                Next::End => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Own commits come first: before each, what others committed is handed over anyway.
    async fn next(&mut self, asked: &mut Asked, batch: &mut Vec<Job>) -> Next {
        let after = self.handing.taken_after();
        tokio::select! {
            biased;
            Some(begun) = asked.hand_over.recv() => Next::Begin(begun),
            taken = asked.jobs.recv_many(batch, BATCH) => match taken {
                0 => Next::End,
                _ => Next::Jobs,
            },
            () = told_of_others(&mut self.newest, after, self.read_again) => Next::Others,
        }
    }

    /// Begins to hand over what others commit; `false` where the writer stops.
    fn begin(&mut self, asked: HandOver, queue: &mut mpsc::Receiver<Job>) -> bool {
        let is_begun = self.handing.begin(asked);
        if !is_begun {
            self.stop("the state was read too long before what others commit was asked for");
            queue.close();
        }
        is_begun
    }

    /// Serves what was queued, in batches; `false` where the writer stops.
    async fn serve_all(&mut self, jobs: &mut Vec<Job>, queue: &mut mpsc::Receiver<Job>) -> bool {
        while !jobs.is_empty() {
            let (commits, callers) = parted(jobs.drain(..fitting(jobs)));
            if !self.serve(&commits, callers, queue).await {
                return false;
            }
        }
        true
    }

    /// Makes a batch, hands it over and answers it; `false` where the writer stops.
    async fn serve(
        &mut self,
        commits: &[Commit],
        mut callers: Callers,
        queue: &mut mpsc::Receiver<Job>,
    ) -> bool {
        match self.make(commits, &mut callers, queue).await {
            Ok(places) => callers.answer(&places),
            Err(NotMade::Refused(error)) => {
                callers.refuse(|| StoreError::Batch(error.to_string()));
            }
            Err(NotMade::Stopped) => {
                // First, so that whoever hears of it finds the store stopped.
                queue.close();
                callers.refuse(|| StoreError::Stopped);
                return false;
            }
        }
        true
    }

    async fn make(
        &mut self,
        commits: &[Commit],
        callers: &mut Callers,
        queue: &mut mpsc::Receiver<Job>,
    ) -> Result<Places, NotMade> {
        if commits.is_empty() {
            return Ok(Places::new());
        }
        let places = self.write(commits, queue).await?;
        self.catch_up(&places, queue).await?;
        let made = callers.commits.iter_mut().zip(&places);
        let made = made.filter_map(|(caller, place)| Some(((*place).ok()?, caller.then.take()?)));
        let handed = self.handing.give_own(made);
        handed.map_err(|error| self.stop(&error.to_string()))?;
        Ok(places)
    }

    /// Makes a batch durable.
    async fn write(
        &mut self,
        commits: &[Commit],
        queue: &mut mpsc::Receiver<Job>,
    ) -> Result<Places, NotMade> {
        let Failed { error, fate } = match self.database.write(commits).await {
            Ok(places) => {
                self.note_success(&places);
                return Ok(places);
            }
            Err(failed) => failed,
        };
        self.note_failure(&error, &fate);
        let lost = match fate {
            Fate::Refused => return Err(NotMade::Refused(error)),
            Fate::Open(places) => {
                self.condition.is_undecided.store(true, Ordering::Release);
                let within = self.settle_within;
                let settled = settle(&mut self.database, &places, within, queue).await;
                self.condition.is_undecided.store(false, Ordering::Release);
                match settled {
                    Ok(true) => return Ok(places),
                    Ok(false) => return Err(NotMade::Refused(error)),
                    Err(lost) => lost,
                }
            }
            lost => lost,
        };
        self.note_failure(&error, &lost);
        let is_older = lost == Fate::Older;
        self.condition.is_older.store(is_older, Ordering::Release);
        tracing::error!("the store stops: what it holds is not known");
        Err(NotMade::Stopped)
    }

    /// Tells readiness and the log why the writer stops, whose database is sound.
    fn stop(&self, reason: &str) -> NotMade {
        let told = format!("{reason}; {}", StoreError::Stopped);
        self.condition.refused.refused(told);
        tracing::error!(reason, "the store stops: a commit cannot be handed over");
        NotMade::Stopped
    }

    fn note_success(&self, places: &Places) {
        if last(places).is_some() && self.condition.refused.taken() {
            let store = Principal::part("store");
            peer_line!(INFO, store, "the store takes writes again");
        }
    }

    /// Tells readiness, and the log where the write before did not fail.
    fn note_failure(&self, error: &DatabaseError, fate: &Fate) {
        let reason = match fate {
            Fate::Refused => error.to_string(),
            Fate::Open(_) => format!("{error}; whether the last change is kept is not known yet"),
            Fate::Unknown | Fate::Older => format!("{error}; {}", StoreError::Stopped),
        };
        if self.condition.refused.refused(reason) {
            peer_line!(ERROR, Principal::part("store"), %error, "a write to the store failed");
        } else {
            tracing::debug!(%error, "a write to the store failed again");
        }
    }
}
