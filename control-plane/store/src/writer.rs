//! The one writer: commits whatever waits in its queue as one transaction, with one fsync.
//!
//! A job is answered after the transaction that holds it is durable. When the transaction fails
//! every job in it fails. Where a commit may be kept though it failed, that is found out before
//! anybody is answered ([`settling`]). Where it is not known any more what the database holds, the
//! writer stops for good.

mod settling;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_model::Seq;
use countersign_refusal::RefusedWrites;
use countersign_telemetry::{Principal, peer_line};
use tokio::sync::{mpsc, oneshot};

use self::settling::{SETTLE_WITHIN, settle};
use crate::database::{Database, Failed, Fate, Places, last};
use crate::{Commit, DatabaseError, StoreError};

/// Most jobs that share a transaction.
const BATCH: usize = 256;

/// Something to write.
#[derive(Debug)]
pub(crate) enum Job {
    Commit {
        commit: Commit,
        reply: oneshot::Sender<Result<Seq, StoreError>>,
    },
    /// Answered when everything that was queued before it is durable.
    Flush {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// A database, and whether it takes what is written.
pub(crate) struct Writer<D> {
    database: D,
    refused: Arc<RefusedWrites>,
    /// Whether it stopped because what was committed is not there any more.
    is_older: Arc<AtomicBool>,
    /// How long a batch may stay undecided.
    pub(crate) settle_within: Duration,
}

/// The callers of a batch.
#[derive(Default)]
struct Callers {
    commits: Vec<oneshot::Sender<Result<Seq, StoreError>>>,
    flushes: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl<D: Database> Writer<D> {
    pub(crate) fn new(database: D, refused: Arc<RefusedWrites>, is_older: Arc<AtomicBool>) -> Self {
        Self {
            database,
            refused,
            is_older,
            settle_within: SETTLE_WITHIN,
        }
    }

    /// Runs until every sender is gone or the database is lost.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let (commits, callers) = parted(batch.drain(..));
            let written = match commits.is_empty() {
                true => Ok(Places::new()),
                false => self.database.write(&commits).await,
            };
            match written {
                Ok(places) => {
                    self.note_success(&places);
                    callers.answer(&places);
                }
                Err(failed) => {
                    if !self.failed(failed, callers, &mut queue).await {
                        tracing::error!("the store stops: what it holds is not known");
                        return;
                    }
                }
            }
        }
    }

    /// Answers a batch that failed; `false` where the writer stops.
    async fn failed(
        &mut self,
        failed: Failed,
        callers: Callers,
        queue: &mut mpsc::Receiver<Job>,
    ) -> bool {
        let Failed { error, fate } = failed;
        self.note_failure(&error, &fate);
        let kept = match fate {
            Fate::Refused => Ok(None),
            Fate::Open(places) => {
                let within = self.settle_within;
                let is_kept = settle(&mut self.database, &places, within, queue).await;
                is_kept.map(|is_kept| is_kept.then_some(places))
            }
            lost => Err(lost),
        };
        match kept {
            Ok(Some(places)) => callers.answer(&places),
            Ok(None) => callers.refuse(|| StoreError::Batch(error.to_string())),
            Err(lost) => {
                self.note_failure(&error, &lost);
                self.is_older.store(lost == Fate::Older, Ordering::Release);
                // First, so that whoever hears of it finds the store stopped.
                queue.close();
                callers.refuse(|| StoreError::Stopped);
                return false;
            }
        }
        true
    }

    fn note_success(&self, places: &Places) {
        if last(places).is_some() && self.refused.taken() {
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
        if self.refused.refused(reason) {
            peer_line!(ERROR, Principal::part("store"), %error, "a write to the store failed");
        } else {
            tracing::debug!(%error, "a write to the store failed again");
        }
    }
}

fn parted(jobs: impl Iterator<Item = Job>) -> (Vec<Commit>, Callers) {
    let (mut commits, mut callers) = (Vec::new(), Callers::default());
    for job in jobs {
        match job {
            Job::Commit { commit, reply } => {
                commits.push(commit);
                callers.commits.push(reply);
            }
            Job::Flush { reply } => callers.flushes.push(reply),
        }
    }
    (commits, callers)
}

impl Job {
    /// Says that it was not done.
    pub(crate) fn refuse(self, error: StoreError) {
        // A caller that went away no longer wants its answer.
        match self {
            Self::Commit { reply, .. } => drop(reply.send(Err(error))),
            Self::Flush { reply } => drop(reply.send(Err(error))),
        }
    }
}

impl Callers {
    fn answer(self, places: &Places) {
        for (reply, place) in self.commits.into_iter().zip(places) {
            // A caller that went away no longer wants its answer.
            let _ = reply.send(place.map_err(StoreError::from));
        }
        for reply in self.flushes {
            let _ = reply.send(Ok(()));
        }
    }

    fn refuse(self, why: impl Fn() -> StoreError) {
        for reply in self.commits {
            let _ = reply.send(Err(why()));
        }
        for reply in self.flushes {
            let _ = reply.send(Err(why()));
        }
    }
}
