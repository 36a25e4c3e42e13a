//! The store is a commit log: state lives in memory, and this makes it durable.
//!
//! [`Store::commit`] makes writes under preconditions and returns its place in the order, only
//! after they are on disk (SQLite in WAL mode with `synchronous=FULL`). One writer task owns the
//! writing connection and commits whatever waits in its queue with one fsync. Nothing here knows
//! what a value means. Certificates are not here: they are in the issuance log.

mod data_dir;
mod entry;
mod statements;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod writer;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use countersign_model::Seq;
use countersign_refusal::RefusedWrites;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr};
use tokio::sync::{Mutex, mpsc, oneshot};

pub use data_dir::{DataDir, DataDirError};
pub use entry::{Entry, Kind, Precondition, Write};
use writer::{Job, Writer};

/// Most jobs that wait for the writer. A caller beyond that waits for its turn to queue.
const WRITER_QUEUE: usize = 1_024;
/// The database within the data directory.
pub const DATABASE: &str = "state.db";
/// Key of what is written to see whether the disk takes anything.
const TRIAL: &str = "trial";
/// A read returns so many writes and the rest of the commit that the last one is of.
const ROWS_PER_READ: i64 = 1_000;

/// Why a read or write came to nothing. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A precondition did not hold.
    #[error("the state changed meanwhile")]
    Conflict,
    /// The database refused.
    #[error("the database cannot be used: {0}")]
    Database(#[from] sqlx::Error),
    /// The batch that this write was part of failed as a whole.
    #[error("the database did not take the write: {0}")]
    Batch(String),
    /// The schema is newer than this program, or damaged.
    #[error("the database schema cannot be used: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// The writer stopped after an input/output error: what is on disk is not known.
    #[error("the store stopped after an input/output error; restart once the disk is sound")]
    Stopped,
    /// A value that this program did not write.
    #[error("the database holds a damaged {what}")]
    Damaged {
        /// Which kind of value.
        what: &'static str,
    },
}

/// The store of one data directory.
#[derive(Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    reader: Mutex<SqliteConnection>,
    refused: Arc<RefusedWrites>,
}

impl Store {
    /// Opens or creates the database and brings its schema up to date. Returns the newest place
    /// in the order.
    pub async fn open(dir: &DataDir) -> Result<(Self, Seq), StoreError> {
        let path = dir.path().join(DATABASE);
        dir.touch(&path)
            .map_err(|error| StoreError::Batch(error.to_string()))?;
        let mut writing = connect(&path).await?;
        migrator().run_direct(None, &mut writing, false).await?;
        let newest = newest_seq(&mut writing).await?;
        let (jobs, queue) = mpsc::channel(WRITER_QUEUE);
        let reader = Mutex::new(connect(&path).await?);
        let refused = Arc::default();
        let writer = Writer::new(path, writing, newest, Arc::clone(&refused));
        tokio::spawn(writer.run(queue));
        let store = Self {
            jobs,
            reader,
            refused,
        };
        Ok((store, newest))
    }

    /// Makes `writes` if every precondition holds, all or nothing, durable on return.
    pub async fn commit(
        &self,
        writes: Vec<Write>,
        preconditions: Vec<Precondition>,
    ) -> Result<Seq, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Commit {
            writes,
            preconditions,
            reply,
        };
        self.submit(job).await?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Writes a little where the newest write was refused: room is noticed though nobody asks for
    /// a write.
    pub async fn try_again(&self) {
        if self.refused.is_refusing() && !self.is_stopped() {
            let trial = Write::put(Kind::Meta, TRIAL, &true);
            // How it ends is known to the writer.
            let _ = self.commit(vec![trial], Vec::new()).await;
        }
    }

    /// Whether writes are taken.
    pub fn refused(&self) -> &RefusedWrites {
        &self.refused
    }

    /// Waits until everything that was queued so far is on disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Flush { reply }).await?;
        answer
            .await
            .map_err(|_| StoreError::Stopped)?
            .map(|_: Seq| ())
    }

    /// Everything that is, in no order.
    pub async fn snapshot(&self) -> Result<Vec<Entry>, StoreError> {
        let mut reader = self.reader.lock().await;
        let rows = sqlx::query("SELECT kind, key, value, seq FROM entries")
            .fetch_all(&mut *reader)
            .await?;
        rows.iter().map(Entry::from_row).collect()
    }

    /// Writes a copy of the database, as it stands at one moment, into an empty file.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        let path = path.to_string_lossy().into_owned();
        let mut reader = self.reader.lock().await;
        sqlx::query("VACUUM INTO ?")
            .bind(path)
            .execute(&mut *reader)
            .await?;
        Ok(())
    }

    /// What was written after `seq`, in order and in whole commits, for those who follow. A part of
    /// it where it is much: ask again from the last commit on, until nothing is left. `None` where
    /// what came next is not retained any more: then everything must be read again.
    pub async fn changes_after(&self, seq: Seq) -> Result<Option<Vec<(Seq, Write)>>, StoreError> {
        let mut reader = self.reader.lock().await;
        let rows = sqlx::query(
            "SELECT seq, kind, key, value FROM changes WHERE seq > ?1 AND seq <= COALESCE( \
             (SELECT seq FROM changes WHERE seq > ?1 ORDER BY id LIMIT 1 OFFSET ?2), ?3) \
             ORDER BY id",
        )
        .bind(signed(seq.0))
        .bind(ROWS_PER_READ)
        .bind(i64::MAX)
        .fetch_all(&mut *reader)
        .await?;
        // After the rows: old commits are removed meanwhile, and never come back.
        let oldest: Option<i64> = sqlx::query_scalar("SELECT MIN(seq) FROM changes")
            .fetch_one(&mut *reader)
            .await?;
        if oldest.is_some_and(|oldest| seq.0 + 1 < unsigned(oldest)) {
            return Ok(None);
        }
        rows.iter()
            .map(Write::from_row)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Whether the writer ended after an input/output error.
    pub fn is_stopped(&self) -> bool {
        self.jobs.is_closed()
    }

    async fn submit(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "10000")
        .disable_statement_logging();
    options.connect().await
}

fn migrator() -> Migrator {
    Migrator::with_migrations(vec![Migration::new(
        1,
        Cow::Borrowed("commit log"),
        MigrationType::Simple,
        include_str!("../migrations/0001_commit_log.sql").into_sql_str(),
        false,
    )])
}

async fn newest_seq(connection: &mut SqliteConnection) -> Result<Seq, StoreError> {
    let newest: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM changes")
        .fetch_one(connection)
        .await?;
    Ok(Seq(unsigned(newest)))
}

/// SQLite integers are signed; ours stay below 2^63.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
