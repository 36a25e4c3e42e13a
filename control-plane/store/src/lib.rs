//! The store is a commit log: state lives in memory, and this makes it durable.
//!
//! [`Store::commit`] makes writes under preconditions and returns its place in the order, only
//! after they are on disk. One writer task owns the writing connection and commits whatever waits in
//! its queue with one fsync. Nothing here knows what a value means.
//!
//! Certificates are in the issuance log. A database that several control planes share keeps the entries
//! of all their logs too, each made by a commit; SQLite does not.

mod commit;
pub mod copy;
mod data_dir;
mod database;
mod entry;
mod error;
mod log;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod postgres;
mod sqlite;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_model::Seq;
use countersign_refusal::RefusedWrites;
use tokio::sync::{mpsc, oneshot, watch};

pub use commit::{Commit, Committed};
pub use data_dir::{DataDir, DataDirError};
pub use database::Snapshot;
use database::{Database, Reader};
pub use entry::{Entry, Kind, Precondition, Write};
pub use error::{DatabaseError, StoreError};
pub use log::{LogEntries, LogEntry, LogPage, LogSignature};
use writer::{Job, Writer};

/// Most jobs that wait for the writer. A caller beyond that waits for its turn to queue.
const WRITER_QUEUE: usize = 1_024;
/// The database within the data directory.
pub const DATABASE: &str = "state.db";
/// Key of what is written to see whether the disk takes anything.
const TRIAL: &str = "trial";
/// Key of what a copy says of the commits before it: that it was removed. It never was there.
const COPIED: &str = "copied";
/// Key in a database whose state was moved away; its value says where.
const MOVED: &str = "moved";
/// A read returns so many writes, entries and signatures, and the rest of the commit that the last one
/// is of.
const ROWS_PER_READ: usize = 1_000;
/// It returns fewer where they are so large: so many bytes, and the rest of that commit.
const BYTES_PER_READ: usize = 4 << 20;
/// How many of the newest commits keep their writes.
const RETAINED_COMMITS: u64 = 100_000;
/// Old writes are removed once in so many commits.
const TRIM_EVERY: u64 = 1_024;

/// A commit log that one writer of this process adds to.
#[derive(Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    reader: Arc<dyn Reader>,
    refused: Arc<RefusedWrites>,
    is_older: Arc<AtomicBool>,
    /// Whether what others commit is heard of.
    deaf: Arc<RefusedWrites>,
    /// The newest commit, where others of the same database make some.
    newest: Option<watch::Receiver<Seq>>,
}

impl Store {
    /// Opens or creates the database of a data directory and brings its schema up to date. Returns
    /// the newest place in the order.
    pub async fn open(dir: &DataDir) -> Result<(Self, Seq), StoreError> {
        let path = dir.path().join(DATABASE);
        dir.touch(&path)
            .map_err(|error| StoreError::Batch(error.to_string()))?;
        let (database, reader, newest) = sqlite::open(&path).await?;
        Ok((Self::of(database, reader, None), newest))
    }

    /// Connects to a database that several control planes may share, and brings its schema up to
    /// date. Returns the newest place in the order.
    pub async fn connect(
        address: postgres::Address,
        writer: postgres::WriterName,
    ) -> Result<(Self, Seq), StoreError> {
        let (database, reader, newest) = postgres::open(address.clone(), writer).await?;
        let (tell, told) = watch::channel(newest);
        let store = Self::of(database, reader, Some(told));
        let deaf = Arc::clone(&store.deaf);
        tokio::spawn(postgres::follow(address, tell, deaf));
        Ok((store, newest))
    }

    /// What a database holds, without a trace of having looked; `None` where it was never used.
    ///
    /// # Errors
    /// It cannot be reached, or its schema is of a newer program.
    pub async fn look(address: &postgres::Address) -> Result<Option<Snapshot>, StoreError> {
        postgres::look(address).await
    }

    /// A store that others of this process may share, with what they made durable.
    #[cfg(any(test, feature = "testing"))]
    pub fn in_memory(database: &memory::MemoryDatabase) -> (Self, Seq) {
        let told = database.newest();
        let newest = *told.borrow();
        let store = Self::of(database.clone(), database.clone(), Some(told));
        (store, newest)
    }

    fn of(
        database: impl Database,
        reader: impl Reader + 'static,
        newest: Option<watch::Receiver<Seq>>,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(WRITER_QUEUE);
        let (refused, is_older) = (Arc::default(), Arc::default());
        let writer = Writer::new(database, Arc::clone(&refused), Arc::clone(&is_older));
        tokio::spawn(writer.run(queue));
        Self {
            jobs,
            reader: Arc::new(reader),
            refused,
            is_older,
            deaf: Arc::default(),
            newest,
        }
    }

    /// Makes `writes` if every precondition holds, all or nothing, durable on return.
    pub async fn commit(
        &self,
        writes: Vec<Write>,
        preconditions: Vec<Precondition>,
    ) -> Result<Seq, StoreError> {
        self.make(Commit {
            writes,
            preconditions,
            ..Commit::default()
        })
        .await
    }

    /// The same, of all that a commit may carry.
    async fn make(&self, commit: Commit) -> Result<Seq, StoreError> {
        if commit.is_logged() && !self.keeps_log() {
            return Err(StoreError::NoLog);
        }
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Commit { commit, reply }).await?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Writes a little where the newest write was refused, or the database seems to be away: room and
    /// absence are noticed though nobody asks for a write.
    pub async fn try_again(&self) {
        let is_away = self.refused.is_refusing() || self.deaf.is_refusing();
        if is_away && !self.is_stopped() {
            let trial = Write::put(Kind::Meta, TRIAL, &true);
            // How it ends is known to the writer.
            let _ = self.commit(vec![trial], Vec::new()).await;
        }
    }

    /// Whether writes are taken.
    pub fn refused(&self) -> &RefusedWrites {
        &self.refused
    }

    /// Whether what others commit is heard of; refused while the session that listens is away.
    pub fn deaf(&self) -> &RefusedWrites {
        &self.deaf
    }

    /// Waits until everything that was queued so far is on disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job::Flush { reply }).await?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Everything that is at one moment.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.reader.snapshot().await
    }

    /// Writes a copy of the database, as it stands at one moment, into an empty file.
    pub async fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        self.reader.copy_to(path).await
    }

    /// What was made after `seq`, in order and in whole commits, for those who follow. A part of
    /// it where it is much: ask again from the last commit on, until nothing is left. `None` where
    /// what came next is not retained any more: then everything must be read again.
    pub async fn changes_after(&self, seq: Seq) -> Result<Option<Vec<Committed>>, StoreError> {
        self.reader.changes_after(seq).await
    }

    /// Tells the newest commit of all who share the database; `None` where nobody else writes.
    pub fn follow(&self) -> Option<watch::Receiver<Seq>> {
        self.newest.clone()
    }

    /// Whether the writer ended after an input/output error.
    pub fn is_stopped(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Whether the writer ended because what was committed is not in the database any more.
    pub fn is_older(&self) -> bool {
        self.is_older.load(Ordering::Acquire)
    }

    async fn submit(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).await.map_err(|_| StoreError::Stopped)
    }
}

/// Integers of a database are signed; ours stay below 2^63.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
