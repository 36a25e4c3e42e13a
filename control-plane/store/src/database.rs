//! What a database does to keep the commit log: SQLite, PostgreSQL and memory are one file each.
//!
//! The [writer](crate::writer) owns a [`Database`] and gives it a batch of commits at a time. What
//! the database says of a batch that failed decides whom the writer answers, and what.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use countersign_model::Seq;
use futures_util::future::BoxFuture;

use crate::log::{LogEntries, LogPage, LogRow};
use crate::{
    BYTES_PER_READ, Commit, Committed, DatabaseError, Entry, Kind, Level, Levels, LogEntry,
    Precondition, ROWS_PER_READ, StoreError,
};

/// What became of each commit of a batch: its place, or why it has none.
pub(crate) type Places = Vec<Result<Seq, Refusal>>;

/// Why a commit is not made, though others of its batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A precondition did not hold.
    Conflict,
    /// A log has an entry at that index already.
    EntryExists { log_id: u32, index: u64 },
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict => Self::Conflict,
            Refusal::EntryExists { log_id, index } => Self::EntryExists { log_id, index },
        }
    }
}

/// A batch that was not made, or not as far as is known.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: DatabaseError,
    pub(crate) fate: Fate,
}

/// What became of a batch that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing of it is kept.
    Refused,
    /// It may be kept; these would be its places.
    Open(Places),
    /// Nothing is known of the database any more.
    Unknown,
    /// What was committed before is not there any more.
    Older,
}

/// Why it is not known yet whether a batch is kept.
#[derive(Debug)]
pub(crate) enum Unsettled {
    /// A later try may tell.
    Yet(DatabaseError),
    /// It will not be known.
    Ever(DatabaseError),
    /// What was committed before it is not there any more.
    Older(DatabaseError),
}

/// Why it is not known what others committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// A later read may tell.
    #[error(transparent)]
    Yet(#[from] StoreError),
    /// What was committed before is not there any more, though the database may have grown since.
    #[error(transparent)]
    Older(DatabaseError),
}

impl From<DatabaseError> for Unread {
    fn from(error: DatabaseError) -> Self {
        Self::Yet(error.into())
    }
}

/// Where commits are written, by one owner.
pub(crate) trait Database: Send + 'static {
    /// Makes the commits whose preconditions hold, in their order, in one transaction that is durable
    /// on return.
    fn write(&mut self, commits: &[Commit]) -> impl Future<Output = Result<Places, Failed>> + Send;

    /// Whether a batch is kept whose fate is open, and makes sure that it stays so.
    fn settle(&mut self, places: &Places) -> impl Future<Output = Result<bool, Unsettled>> + Send;

    /// What was made after a commit, and before another where one is named; `None` where it is not
    /// retained any more. It is read where the newest batch was written.
    fn changes(
        &mut self,
        after: Seq,
        before: Option<Seq>,
    ) -> impl Future<Output = Result<Option<Page>, Unread>> + Send;
}

/// What was made after some commit, in order and in whole commits.
#[derive(Debug)]
pub(crate) struct Page {
    /// The newest commit of all.
    pub(crate) newest: Seq,
    /// Commits that made something: one that did not is left out.
    pub(crate) commits: Vec<Committed>,
    /// Whether nothing is left of what was asked for.
    pub(crate) is_whole: bool,
}

impl Page {
    pub(crate) fn new(newest: Seq, commits: Vec<Committed>) -> Self {
        let (rows, bytes) = commits
            .iter()
            .map(Committed::size)
            .fold((0, 0), |(rows, bytes), (more_rows, more_bytes)| {
                (rows + more_rows, bytes + more_bytes)
            });
        Self {
            newest,
            commits,
            // One that is left would have been read, unless these reached a bound.
            is_whole: rows <= ROWS_PER_READ && bytes <= BYTES_PER_READ,
        }
    }
}

/// Everything that is at one moment, in no order.
#[derive(Debug)]
pub struct Snapshot {
    /// The newest commit.
    pub seq: Seq,
    /// What it and those before it left.
    pub entries: Vec<Entry>,
    /// What may be written there.
    pub level: Level,
}

/// What was made after some commit, in order and in whole commits; `None` where that is not retained
/// any more.
pub(crate) type Changes = Option<Vec<Committed>>;

/// Where commits are read, by everybody, and where another writer is fenced out and the level is raised, which no
/// writer needs to wait for.
pub(crate) trait Reader: std::fmt::Debug + Send + Sync {
    /// Everything that is.
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>>;

    /// What was made after a commit.
    fn changes_after(&self, seq: Seq) -> BoxFuture<'_, Result<Changes, StoreError>>;

    /// Writes a SQLite database with the content of one moment into an empty file.
    fn copy_to<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Sees to it that a writer of this name makes no commit any more.
    fn fence_out<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The level, and who writes.
    fn levels(&self) -> BoxFuture<'_, Result<Levels, StoreError>>;

    /// Raises the level where nobody is in the way, and says what is there afterwards.
    fn raise(&self, to: Level) -> BoxFuture<'_, Result<Levels, StoreError>>;

    /// Whether there are entries of logs.
    fn keeps_log(&self) -> bool;

    /// Entries of a log from an index on, a page.
    fn log_entries(&self, log_id: u32, from: u64) -> BoxFuture<'_, Result<LogEntries, StoreError>>;

    /// The index after the last entry of a log.
    fn log_size(&self, log_id: u32) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// One entry of a log.
    fn log_entry(
        &self,
        log_id: u32,
        index: u64,
    ) -> BoxFuture<'_, Result<Option<LogRow>, StoreError>>;

    /// Indexes of entries of a log, from one on, that have no signature, a page.
    fn log_unsigned(&self, log_id: u32, from: u64) -> BoxFuture<'_, Result<Vec<u64>, StoreError>>;

    /// Entries of all logs after one, a page.
    fn log_page(&self, after: (Seq, u32, u64)) -> BoxFuture<'_, Result<LogPage, StoreError>>;
}

/// What a database holds of what a batch asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The newest commit that wrote a value, by its name; absent where there is none.
    pub(crate) values: HashMap<(Kind, String), Seq>,
    /// Entries that are there, by log and index.
    pub(crate) entries: HashSet<(u32, u64)>,
}

/// The names that the preconditions of a batch ask for.
pub(crate) fn asked(commits: &[Commit]) -> impl Iterator<Item = (Kind, &str)> {
    let preconditions = commits.iter().flat_map(|commit| &commit.preconditions);
    preconditions.map(Precondition::name)
}

/// Gives each commit of a batch its place after `newest`, by what the database holds before it. A
/// commit sees those before it in its batch; one that is refused takes no place.
pub(crate) fn place(newest: Seq, commits: &[Commit], mut found: Found) -> Places {
    let mut last = newest;
    let mut places = Places::with_capacity(commits.len());
    for commit in commits {
        if let Some(refusal) = found.refuses(commit) {
            places.push(Err(refusal));
            continue;
        }
        last = Seq(last.0 + 1);
        found.make(commit, last);
        places.push(Ok(last));
    }
    places
}

/// The last place of a batch.
pub(crate) fn last(places: &Places) -> Option<Seq> {
    places.iter().flatten().max().copied()
}

impl Found {
    fn refuses(&self, commit: &Commit) -> Option<Refusal> {
        let holds = |it: &Precondition| it.holds(&self.values);
        if !commit.preconditions.iter().all(holds) {
            return Some(Refusal::Conflict);
        }
        let mut own = HashSet::new();
        let names = commit.entries.iter().map(LogEntry::name);
        let mut known = names.filter(|it| self.entries.contains(it) || !own.insert(*it));
        let (log_id, index) = known.next()?;
        Some(Refusal::EntryExists { log_id, index })
    }

    /// As a commit leaves it.
    pub(crate) fn make(&mut self, commit: &Commit, seq: Seq) {
        for write in &commit.writes {
            let name = (write.kind, write.key.clone());
            match write.value {
                Some(_) => self.values.insert(name, seq),
                None => self.values.remove(&name),
            };
        }
        self.entries
            .extend(commit.entries.iter().map(LogEntry::name));
    }
}

impl Precondition {
    fn name(&self) -> (Kind, &str) {
        match self {
            Self::Absent(kind, key) | Self::Unchanged(kind, key, _) => (*kind, key),
        }
    }

    fn holds(&self, values: &HashMap<(Kind, String), Seq>) -> bool {
        let (kind, key) = self.name();
        let present = values.get(&(kind, key.to_owned())).copied();
        match self {
            Self::Absent(..) => present.is_none(),
            Self::Unchanged(_, _, seq) => present == Some(*seq),
        }
    }
}

#[cfg(test)]
mod tests;
