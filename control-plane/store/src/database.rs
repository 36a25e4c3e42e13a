//! What a database does to keep the commit log: SQLite, PostgreSQL and memory are one file each.
//!
//! The [writer](crate::writer) owns a [`Database`] and gives it a batch of commits at a time. What
//! the database says of a batch that failed decides whom the writer answers, and what.

use std::collections::HashMap;
use std::path::Path;

use countersign_model::Seq;
use futures_util::future::BoxFuture;

use crate::{DatabaseError, Entry, Kind, Precondition, StoreError, Write};

/// Writes that are made if every precondition holds, all or nothing.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) writes: Vec<Write>,
    pub(crate) preconditions: Vec<Precondition>,
}

/// What became of each commit of a batch: its place, or `None` where a precondition did not hold.
pub(crate) type Places = Vec<Option<Seq>>;

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

/// Where commits are written, by one owner.
pub(crate) trait Database: Send + 'static {
    /// Makes the commits whose preconditions hold, in their order, in one transaction that is durable
    /// on return.
    fn write(&mut self, commits: &[Commit]) -> impl Future<Output = Result<Places, Failed>> + Send;

    /// Whether a batch is kept whose fate is open, and makes sure that it stays so.
    fn settle(&mut self, places: &Places) -> impl Future<Output = Result<bool, Unsettled>> + Send;
}

/// Everything that is at one moment, in no order.
#[derive(Debug)]
pub struct Snapshot {
    /// The newest commit.
    pub seq: Seq,
    /// What it and those before it left.
    pub entries: Vec<Entry>,
}

/// What was written after some commit, in order and in whole commits; `None` where that is not
/// retained any more.
pub(crate) type Changes = Option<Vec<(Seq, Write)>>;

/// Where commits are read, by everybody.
pub(crate) trait Reader: std::fmt::Debug + Send + Sync {
    /// Everything that is.
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>>;

    /// What was written after a commit.
    fn changes_after(&self, seq: Seq) -> BoxFuture<'_, Result<Changes, StoreError>>;

    /// Writes a SQLite database with the content of one moment into an empty file.
    fn copy_to<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// The newest commit that wrote a value, by its name; absent where there is none.
pub(crate) type Found = HashMap<(Kind, String), Seq>;

/// The names that the preconditions of a batch ask for.
pub(crate) fn asked(commits: &[Commit]) -> impl Iterator<Item = (Kind, &str)> {
    let preconditions = commits.iter().flat_map(|commit| &commit.preconditions);
    preconditions.map(Precondition::name)
}

/// Gives each commit of a batch its place after `newest`, by what the database holds before it. A
/// commit sees those before it in its batch; one whose precondition does not hold takes no place.
pub(crate) fn place(newest: Seq, commits: &[Commit], mut found: Found) -> Places {
    let mut last = newest;
    let mut places = Places::with_capacity(commits.len());
    for commit in commits {
        if !commit.preconditions.iter().all(|it| it.holds(&found)) {
            places.push(None);
            continue;
        }
        last = Seq(last.0 + 1);
        for write in &commit.writes {
            let name = (write.kind, write.key.clone());
            match write.value {
                Some(_) => found.insert(name, last),
                None => found.remove(&name),
            };
        }
        places.push(Some(last));
    }
    places
}

/// The last place of a batch.
pub(crate) fn last(places: &Places) -> Option<Seq> {
    places.iter().flatten().max().copied()
}

impl Precondition {
    fn name(&self) -> (Kind, &str) {
        match self {
            Self::Absent(kind, key) | Self::Unchanged(kind, key, _) => (*kind, key),
        }
    }

    fn holds(&self, found: &Found) -> bool {
        let (kind, key) = self.name();
        let present = found.get(&(kind, key.to_owned())).copied();
        match self {
            Self::Absent(..) => present.is_none(),
            Self::Unchanged(_, _, seq) => present == Some(*seq),
        }
    }
}

#[cfg(test)]
mod tests;
