//! The one writer: commits whatever waits in its queue as one transaction, with one fsync.
//!
//! A job is answered after the transaction that holds it is durable. When the transaction fails
//! every job in it fails. After an fsync that failed the writer stops for good: what the disk holds
//! is not known then, and a repeated fsync may lie. Where a commit may be on the disk though it
//! failed, that is found out before anybody is answered ([`settling`]). After any error, a full disk
//! or quota above all, the connection is opened anew: the database may have rolled back by itself, of
//! which its library knows nothing, so the old one would refuse every transaction to come.

mod settling;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_model::Seq;
use countersign_refusal::RefusedWrites;
use countersign_telemetry::{Principal, peer_line};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use self::settling::SETTLE_WITHIN;
use super::statements::{commit, trim};
use super::{Precondition, StoreError, Write, connect};

/// Most jobs that share a transaction.
const BATCH: usize = 256;
/// SQLite's primary result code for input/output errors; extended codes carry it in the low byte.
const SQLITE_IOERR: i32 = 10;
/// No room for what was written. In a commit that comes before its last frame is whole: nothing is
/// kept.
const SQLITE_FULL: i32 = 13;
/// A write was refused: the same.
const SQLITE_IOERR_WRITE: i32 = SQLITE_IOERR | 3 << 8;
const SQLITE_IOERR_FSYNC: i32 = SQLITE_IOERR | 4 << 8;
const SQLITE_IOERR_DIR_FSYNC: i32 = SQLITE_IOERR | 5 << 8;

type Reply = oneshot::Sender<Result<Seq, StoreError>>;

/// Something to write.
#[derive(Debug)]
pub(super) enum Job {
    Commit {
        writes: Vec<Write>,
        preconditions: Vec<Precondition>,
        reply: Reply,
    },
    /// Answered when everything that was queued before it is durable.
    Flush { reply: Reply },
}

/// The writing connection and the next place in the order.
pub(super) struct Writer {
    path: PathBuf,
    /// `None` from a failed batch to the next one.
    connection: Option<SqliteConnection>,
    newest: Seq,
    refused: Arc<RefusedWrites>,
    /// How long a batch may stay undecided.
    settle_within: Duration,
}

/// A batch that failed as a whole.
struct Failed {
    error: sqlx::Error,
    unanswered: Vec<Reply>,
    /// The last commit that it would have made.
    batch: Seq,
    fate: Fate,
}

/// What became of a batch that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing of it is kept.
    Refused,
    /// It may be on the disk.
    Open,
    /// Nothing is known of the disk any more.
    Unknown,
}

/// An answer that waits for the transaction to be durable.
type Pending = (Reply, Result<Seq, StoreError>);

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        connection: SqliteConnection,
        newest: Seq,
        refused: Arc<RefusedWrites>,
    ) -> Self {
        Self {
            path,
            connection: Some(connection),
            newest,
            refused,
            settle_within: SETTLE_WITHIN,
        }
    }

    /// Runs until every sender is gone or the disk fails.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut pending = Vec::with_capacity(batch.len());
            match self.write(batch.drain(..), &mut pending).await {
                Ok(newest) => {
                    if newest > self.newest && self.refused.taken() {
                        let store = Principal::part("store");
                        peer_line!(INFO, store, "the store takes writes again");
                    }
                    self.newest = newest;
                    answer(pending);
                }
                Err(failed) => {
                    if !self.failed(failed, pending, &mut queue).await {
                        tracing::error!("the store stops: the disk cannot be trusted");
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
        pending: Vec<Pending>,
        queue: &mut mpsc::Receiver<Job>,
    ) -> bool {
        let Failed {
            error,
            unanswered,
            batch,
            fate,
        } = failed;
        self.note_failure(&error, fate);
        self.close().await;
        let is_kept = match fate {
            Fate::Refused => Some(false),
            Fate::Open => self.settle(batch, queue).await,
            Fate::Unknown => None,
        };
        match is_kept {
            Some(true) => answer(pending),
            Some(false) => {
                refuse(pending, unanswered, || StoreError::Batch(error.to_string()));
            }
            None => {
                self.note_failure(&error, Fate::Unknown);
                // First, so that whoever hears of it finds the store stopped.
                queue.close();
                refuse(pending, unanswered, || StoreError::Stopped);
            }
        }
        is_kept.is_some()
    }

    /// Tells readiness, and the log where the write before did not fail.
    fn note_failure(&self, error: &sqlx::Error, fate: Fate) {
        let reason = match fate {
            Fate::Refused => error.to_string(),
            Fate::Open => format!("{error}; whether the last change is kept is not known yet"),
            Fate::Unknown => StoreError::Stopped.to_string(),
        };
        if self.refused.refused(reason) {
            peer_line!(ERROR, Principal::part("store"), %error, "a write to the store failed");
        } else {
            tracing::debug!(%error, "a write to the store failed again");
        }
    }

    /// Ends the connection and with it its transaction, whatever became of that.
    async fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "a connection to the store ended badly");
        }
    }

    async fn connected(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path).await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn write(
        &mut self,
        jobs: impl Iterator<Item = Job>,
        pending: &mut Vec<Pending>,
    ) -> Result<Seq, Failed> {
        let mut unanswered = Vec::new();
        let mut newest = self.newest;
        let begun = match self.connected().await {
            Ok(connection) => connection.begin_with("BEGIN IMMEDIATE").await,
            Err(error) => Err(error),
        };
        let mut transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => {
                return Err(Failed {
                    fate: Fate::of(&error, false),
                    unanswered: jobs.map(Job::into_reply).collect(),
                    batch: newest,
                    error,
                });
            }
        };
        let mut failed = None;
        for job in jobs {
            if failed.is_some() {
                unanswered.push(job.into_reply());
                continue;
            }
            let next = Seq(newest.0 + 1);
            match job.apply(next, &mut transaction, pending).await {
                Ok(true) => newest = next,
                Ok(false) => {}
                Err((error, reply)) => {
                    failed = Some(error);
                    unanswered.push(reply);
                }
            }
        }
        let outcome = match failed {
            Some(error) => Err(error),
            None => trim(newest, &mut transaction).await,
        };
        let at_commit = outcome.is_ok();
        let outcome = match outcome {
            Ok(()) => transaction.commit().await,
            // Its connection is closed, which rolls back: asked to, a database that has done so
            // already would answer with another error than the one that counts.
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Ok(newest),
            Err(error) => Err(Failed {
                fate: Fate::of(&error, at_commit),
                error,
                unanswered,
                batch: newest,
            }),
        }
    }
}

impl Job {
    /// Applies this job as commit `seq`; whether it used that place. Its answer waits in
    /// `pending`.
    async fn apply(
        self,
        seq: Seq,
        connection: &mut SqliteConnection,
        pending: &mut Vec<Pending>,
    ) -> Result<bool, (sqlx::Error, Reply)> {
        match self {
            Self::Commit {
                writes,
                preconditions,
                reply,
            } => match commit(seq, &writes, &preconditions, connection).await {
                Ok(done) => {
                    let answer = if done {
                        Ok(seq)
                    } else {
                        Err(StoreError::Conflict)
                    };
                    pending.push((reply, answer));
                    Ok(done)
                }
                Err(error) => Err((error, reply)),
            },
            Self::Flush { reply } => {
                pending.push((reply, Ok(seq)));
                Ok(false)
            }
        }
    }

    fn into_reply(self) -> Reply {
        match self {
            Self::Commit { reply, .. } | Self::Flush { reply } => reply,
        }
    }
}

fn answer(pending: Vec<Pending>) {
    for (reply, answer) in pending {
        // A caller that went away no longer wants its answer.
        let _ = reply.send(answer);
    }
}

fn refuse(pending: Vec<Pending>, unanswered: Vec<Reply>, why: impl Fn() -> StoreError) {
    let replies = pending.into_iter().map(|(reply, _)| reply);
    for reply in replies.chain(unanswered) {
        let _ = reply.send(Err(why()));
    }
}

impl Fate {
    /// An fsync that failed is not known to have done anything, ever after. A commit writes, syncs
    /// and shows itself in this order: what fails in the last step, or in a way that is not known, may
    /// be on the disk.
    fn of(error: &sqlx::Error, at_commit: bool) -> Self {
        let code = error
            .as_database_error()
            .and_then(|error| error.code()?.parse::<i32>().ok());
        match code {
            Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC) => Self::Unknown,
            Some(SQLITE_IOERR_WRITE | SQLITE_FULL) => Self::Refused,
            _ if at_commit => Self::Open,
            _ => Self::Refused,
        }
    }
}
