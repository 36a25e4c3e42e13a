//! The store is a commit log: state lives in memory, and this makes it durable.
//!
//! [`Store::commit`] makes writes under preconditions and returns its place in the order, only
//! after they are on disk. One writer task owns the writing connection and commits whatever waits in
//! its queue with one fsync. Nothing here knows what a value means. Each commit, also one of others that
//! share the database, is handed over once and in order ([`Store::commit_then`], [`Store::hand_over`]).
//!
//! Certificates are in the issuance log. A database that several control planes share keeps the entries
//! of all their logs too, each made by a commit; SQLite does not.

mod commit;
pub mod copy;
mod data_dir;
mod database;
mod entry;
mod error;
mod fencing;
mod following;
mod handing;
mod level;
mod log;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
pub mod postgres;
mod shared;
mod sqlite;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_model::Seq;
use countersign_refusal::RefusedWrites;
use tokio::sync::{mpsc, oneshot, watch};

pub use commit::{Commit, Committed};
pub use data_dir::{DataDir, DataDirError};
pub use database::Snapshot;
use database::{Database, Reader};
pub use entry::{Entry, Kind, Precondition, Write};
pub use error::{DatabaseError, StoreError};
use following::{Listening, follow};
use handing::{HandOver, Handing, Then};
pub use level::{Level, Levels};
pub use log::{LogEntries, LogEntry, LogPage, LogRow, LogSignature};
#[doc(hidden)]
pub use shared::Shared;
use writer::{Asked, Condition, Job, Writer};

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
    hand_over: mpsc::Sender<HandOver>,
    is_handed_over: AtomicBool,
    reader: Arc<dyn Reader>,
    condition: Arc<Condition>,
    /// Whether what others commit is heard of.
    deaf: Arc<RefusedWrites>,
    /// The newest commit, where others of the same database make some.
    newest: Option<watch::Receiver<Seq>>,
    seen: watch::Receiver<Seq>,
    /// What this program reads.
    speaks: Level,
    /// As they were found last. The level that is there may be higher.
    levels: Mutex<Levels>,
}

impl Store {
    /// Opens or creates the database of a data directory and brings its schema up to date. Returns
    /// the newest place in the order.
    pub async fn open(dir: &DataDir) -> Result<(Self, Seq), StoreError> {
        let path = dir.path().join(DATABASE);
        dir.touch(&path)
            .map_err(|error| StoreError::Batch(error.to_string()))?;
        let (database, reader, newest) = sqlite::open(&path).await?;
        let levels = reader.levels().await?;
        let store = Self::of(database, reader, newest, None);
        Ok((store.speaking(Level::OWN, levels), newest))
    }

    /// Connects to a database that several control planes may share, and brings its schema up to
    /// date. Returns the newest place in the order.
    pub async fn connect(
        address: postgres::Address,
        writer: postgres::WriterName,
    ) -> Result<(Self, Seq), StoreError> {
        Self::connect_speaking(address, writer, Level::OWN).await
    }

    async fn connect_speaking(
        address: postgres::Address,
        writer: postgres::WriterName,
        speaks: Level,
    ) -> Result<(Self, Seq), StoreError> {
        let (database, reader, newest) = postgres::open(address.clone(), writer, speaks).await?;
        let levels = reader.levels().await?;
        let store = Self::following::<postgres::Listener>(database, reader, newest, address);
        let store = store.speaking(speaks, levels);
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
    #[cfg(any(test, feature = "memory"))]
    pub fn in_memory(database: &memory::MemoryDatabase) -> (Self, Seq) {
        let told = database.newest();
        let newest = *told.borrow();
        let store = Self::of(database.clone(), database.clone(), newest, Some(told));
        (store, newest)
    }

    /// One that speaks another level than this program, or finds others than a database has that was just made.
    fn speaking(self, speaks: Level, levels: Levels) -> Self {
        let levels = Mutex::new(levels);
        Self {
            speaks,
            levels,
            ..self
        }
    }

    /// One that is told of what others commit, by a session of its own.
    fn following<L: Listening>(
        database: impl Database,
        reader: impl Reader + 'static,
        newest: Seq,
        address: L::Address,
    ) -> Self {
        let (tell, told) = watch::channel(newest);
        let store = Self::of(database, reader, newest, Some(told));
        tokio::spawn(follow::<L>(address, tell, Arc::clone(&store.deaf)));
        store
    }

    /// `told` tells of the newest commit of all, where others make some.
    fn of(
        database: impl Database,
        reader: impl Reader + 'static,
        newest: Seq,
        told: Option<watch::Receiver<Seq>>,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(WRITER_QUEUE);
        let (hand_over, asked) = mpsc::channel(1);
        let condition = Arc::<Condition>::default();
        let handing = Handing::new(newest, told.is_some());
        let seen = handing.seen();
        let writer = Writer::new(database, Arc::clone(&condition), handing, told.clone());
        tokio::spawn(writer.run(Asked {
            jobs: queue,
            hand_over: asked,
        }));
        Self {
            jobs,
            hand_over,
            is_handed_over: AtomicBool::default(),
            reader: Arc::new(reader),
            condition,
            deaf: Arc::default(),
            newest: told,
            seen,
            speaks: Level::OWN,
            levels: Mutex::new(Levels::alone(Level::OWN)),
        }
    }

    /// Makes `writes` if every precondition holds, all or nothing, durable on return.
    pub async fn commit(
        &self,
        writes: Vec<Write>,
        preconditions: Vec<Precondition>,
    ) -> Result<Seq, StoreError> {
        let commit = Commit {
            writes,
            preconditions,
            ..Commit::default()
        };
        self.commit_then(commit, |_| ()).await
    }

    /// Makes a commit, as [`commit`](Self::commit) does.
    ///
    /// `then` is called with its place when it is durable and everything before it was handed over, in the
    /// order of commits, before this returns; also where the caller went away. It is called once, and never for
    /// a commit that is not made. It changes what is in memory and returns: no commit goes on meanwhile.
    /// One that panics stops the store.
    ///
    /// # Errors
    /// It is not made. After [`StoreError::Stopped`] it may have been, and `then` was not called.
    pub async fn commit_then(
        &self,
        commit: Commit,
        then: impl FnOnce(Seq) + Send + 'static,
    ) -> Result<Seq, StoreError> {
        if commit.is_logged() && !self.keeps_log() {
            return Err(StoreError::NoLog);
        }
        self.check_level(&commit)?;
        let (reply, answer) = oneshot::channel();
        let then = Then::new(then);
        let job = Job::Commit {
            commit,
            then,
            reply,
        };
        self.submit(job).await?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// From here on `take` is given every commit after `from` that others of the database make, in order, each
    /// once and whole, and in order with own ones: what others committed before an own commit is taken
    /// before that one's `then` is called. Own commits are never given to it, nor those that did nothing.
    ///
    /// `take` changes what is in memory and returns, as `then` does; one that panics stops the store. Where
    /// what comes next is not kept any more the store stops too, and the next start reads everything.
    ///
    /// # Panics
    /// It was called before.
    pub async fn hand_over(&self, from: Seq, take: impl FnMut(Committed) + Send + 'static) {
        let was_called = self.is_handed_over.swap(true, Ordering::AcqRel);
        assert!(!was_called, "one takes what others commit");
        let (asked, begun) = HandOver::new(from, take);
        // A store that stopped hands nothing over.
        if self.hand_over.send(asked).await.is_ok() {
            let _ = begun.await;
        }
    }

    /// The newest commit that was handed over with all before it, own ones and those of others; at first the one
    /// that the store was opened at. It never goes back. Until somebody takes what others commit it stays
    /// where another has made one. It ends with the store: then who waits is told.
    pub fn seen(&self) -> watch::Receiver<Seq> {
        self.seen.clone()
    }

    /// Writes a little where the newest write was refused, or the database seems to be away: room and
    /// absence are noticed though nobody asks for a write.
    pub async fn try_again(&self) {
        let is_away = self.refused().is_refusing() || self.deaf.is_refusing();
        if is_away && !self.is_stopped() {
            let trial = Write::put(Kind::Meta, TRIAL, &true);
            // How it ends is known to the writer.
            let _ = self.commit(vec![trial], Vec::new()).await;
        }
    }

    /// Whether writes are taken.
    pub fn refused(&self) -> &RefusedWrites {
        &self.condition.refused
    }

    /// Whether it is not known yet what became of a commit: until it is, every other one is refused.
    pub fn is_undecided(&self) -> bool {
        self.condition.is_undecided.load(Ordering::Acquire)
    }

    /// Whether it is read what others commit; refused while it cannot be.
    pub fn behind(&self) -> &RefusedWrites {
        &self.condition.behind
    }

    /// Whether what others commit is heard of; refused while the session that listens is away.
    pub fn deaf(&self) -> &RefusedWrites {
        &self.deaf
    }

    /// Sees to it that another writer makes no commit any more, also one that is cut off and comes back: what it
    /// has in the database on return is all that it ever will have. Its store stops with its next commit.
    ///
    /// # Errors
    /// It is not certain; ask again. SQLite has one writer.
    pub async fn fence_out(&self, name: &str) -> Result<(), StoreError> {
        self.reader.fence_out(name).await
    }

    /// What this program reads, and the levels as they were found last.
    pub fn levels(&self) -> (Level, Levels) {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        (self.speaks, levels.clone())
    }

    /// Looks at the levels again: another may have raised the level.
    ///
    /// # Errors
    /// The database is away.
    pub async fn look_at_levels(&self) -> Result<(), StoreError> {
        self.found(self.reader.levels().await?);
        Ok(())
    }

    /// Raises the level to what this program speaks, where everybody speaks it. Says what is there afterwards:
    /// who is in the way where it was not raised. There is no way back.
    ///
    /// # Errors
    /// The database is away, and it is not known whether the level was raised; ask again.
    pub async fn raise(&self) -> Result<Levels, StoreError> {
        let levels = self.reader.raise(self.speaks).await?;
        self.found(levels.clone());
        Ok(levels)
    }

    /// Whether everybody who uses the database reads this kind, so that it may be written.
    pub fn may_write(&self, kind: Kind) -> bool {
        kind.since() <= self.level()
    }

    /// Whether everybody who uses the database reads what is written at a level.
    pub fn is_at(&self, level: Level) -> bool {
        level <= self.level()
    }

    fn level(&self) -> Level {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.level
    }

    fn found(&self, levels: Levels) {
        *self.levels.lock().unwrap_or_else(PoisonError::into_inner) = levels;
    }

    /// Nothing is written that somebody who uses the database cannot read.
    fn check_level(&self, commit: &Commit) -> Result<(), StoreError> {
        let level = self.level();
        let mut kinds = commit.writes.iter().map(|it| it.kind);
        match kinds.find(|kind| kind.since() > level) {
            None => Ok(()),
            Some(kind) => Err(StoreError::TooNew {
                what: kind.as_str(),
                since: kind.since().0,
                level: level.0,
            }),
        }
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

    /// Whether the writer ended: after an input/output error, or since a commit could not be handed over.
    pub fn is_stopped(&self) -> bool {
        self.jobs.is_closed()
    }

    /// Whether the writer ended because what was committed is not in the database any more.
    pub fn is_older(&self) -> bool {
        self.condition.is_older.load(Ordering::Acquire)
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
