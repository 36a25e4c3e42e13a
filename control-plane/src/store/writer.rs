//! The one writer: commits whatever waits in its queue as one transaction, with one fsync.
//!
//! A job is answered after the transaction that holds it is durable. When the transaction fails
//! every job in it fails. After an input/output error the writer stops for good: what the disk
//! holds is not known then, and a repeated fsync may lie.

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::{Change, Precondition, Seq, StoreError, signed};

/// Most jobs that share a transaction.
const BATCH: usize = 256;
/// How many of the newest commits keep their changes.
const RETAINED_COMMITS: u64 = 100_000;
/// Old changes are removed once in so many commits.
const TRIM_EVERY: u64 = 1_024;
/// SQLite's primary result code for input/output errors; extended codes carry it in the low byte.
const SQLITE_IOERR: i32 = 10;

type Reply = oneshot::Sender<Result<Seq, StoreError>>;

/// Something to write.
#[derive(Debug)]
pub(super) enum Job {
    Commit {
        changes: Vec<Change>,
        preconditions: Vec<Precondition>,
        reply: Reply,
    },
    /// Answered when everything that was queued before it is durable.
    Flush { reply: Reply },
}

/// The writing connection and the next place in the order.
pub(super) struct Writer {
    connection: SqliteConnection,
    newest: Seq,
}

/// An answer that waits for the transaction to be durable.
type Pending = (Reply, Result<Seq, StoreError>);

impl Writer {
    pub(super) fn new(connection: SqliteConnection, newest: Seq) -> Self {
        Self { connection, newest }
    }

    /// Runs until every sender is gone or the disk fails.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut pending = Vec::with_capacity(batch.len());
            let before = self.newest;
            match self.write(batch.drain(..), &mut pending).await {
                Ok(()) => answer(pending),
                Err((error, unanswered)) => {
                    self.newest = before;
                    tracing::error!(%error, "a write to the store failed");
                    let stops = is_input_output(&error);
                    if stops {
                        // First, so that whoever hears of it finds the store stopped.
                        queue.close();
                    }
                    refuse(pending, unanswered, &error);
                    if stops {
                        tracing::error!("the store stops: the disk cannot be trusted");
                        return;
                    }
                }
            }
        }
    }

    async fn write(
        &mut self,
        jobs: impl Iterator<Item = Job>,
        pending: &mut Vec<Pending>,
    ) -> Result<(), (sqlx::Error, Vec<Reply>)> {
        let mut unanswered = Vec::new();
        let begun = self.connection.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = match begun {
            Ok(transaction) => transaction,
            Err(error) => return Err((error, jobs.map(Job::into_reply).collect())),
        };
        let mut failed = None;
        for job in jobs {
            if failed.is_some() {
                unanswered.push(job.into_reply());
                continue;
            }
            let next = Seq(self.newest.0 + 1);
            match job.apply(next, &mut transaction, pending).await {
                Ok(true) => self.newest = next,
                Ok(false) => {}
                Err((error, reply)) => {
                    failed = Some(error);
                    unanswered.push(reply);
                }
            }
        }
        let outcome = match failed {
            Some(error) => Err(error),
            None => trim(self.newest, &mut transaction).await,
        };
        let outcome = match outcome {
            Ok(()) => transaction.commit().await,
            Err(error) => transaction.rollback().await.and(Err(error)),
        };
        outcome.map_err(|error| (error, unanswered))
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
                changes,
                preconditions,
                reply,
            } => match commit(seq, &changes, &preconditions, connection).await {
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

async fn commit(
    seq: Seq,
    changes: &[Change],
    preconditions: &[Precondition],
    connection: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    for precondition in preconditions {
        if !holds(precondition, connection).await? {
            return Ok(false);
        }
    }
    for change in changes {
        write(seq, change, connection).await?;
    }
    Ok(true)
}

async fn holds(
    precondition: &Precondition,
    connection: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    let (kind, key, expected) = match precondition {
        Precondition::Absent(kind, key) => (kind, key, None),
        Precondition::Unchanged(kind, key, seq) => (kind, key, Some(signed(seq.0))),
    };
    let found: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM entries WHERE kind = ? AND key = ?")
            .bind(kind.as_str())
            .bind(key)
            .fetch_optional(connection)
            .await?;
    Ok(found == expected)
}

async fn write(
    seq: Seq,
    change: &Change,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    match &change.value {
        Some(value) => {
            sqlx::query("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)")
                .bind(change.kind.as_str())
                .bind(&change.key)
                .bind(value)
                .bind(signed(seq.0))
                .execute(&mut *connection)
                .await?;
        }
        None => {
            sqlx::query("DELETE FROM entries WHERE kind = ? AND key = ?")
                .bind(change.kind.as_str())
                .bind(&change.key)
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query("INSERT INTO changes (seq, kind, key, value) VALUES (?, ?, ?, ?)")
        .bind(signed(seq.0))
        .bind(change.kind.as_str())
        .bind(&change.key)
        .bind(&change.value)
        .execute(connection)
        .await?;
    Ok(())
}

async fn trim(newest: Seq, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    if !newest.0.is_multiple_of(TRIM_EVERY) {
        return Ok(());
    }
    sqlx::query("DELETE FROM changes WHERE seq < ?")
        .bind(signed(newest.0.saturating_sub(RETAINED_COMMITS)))
        .execute(connection)
        .await?;
    Ok(())
}

fn answer(pending: Vec<Pending>) {
    for (reply, answer) in pending {
        // A caller that went away no longer wants its answer.
        let _ = reply.send(answer);
    }
}

fn refuse(pending: Vec<Pending>, unanswered: Vec<Reply>, error: &sqlx::Error) {
    let replies = pending.into_iter().map(|(reply, _)| reply);
    for reply in replies.chain(unanswered) {
        // After an input/output error the commit may be on disk all the same.
        let answer = if is_input_output(error) {
            StoreError::Stopped
        } else {
            StoreError::Batch(error.to_string())
        };
        let _ = reply.send(Err(answer));
    }
}

fn is_input_output(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_IOERR)
}
