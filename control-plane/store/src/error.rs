//! Why a read or write came to nothing.

use std::error::Error;
use std::fmt::Write as _;

/// What a database answered, or what came between, in full.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DatabaseError(String);

impl DatabaseError {
    /// One that is told in these words.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// An error of a library with everything that is behind it: some say only "db error" of
    /// themselves.
    pub(crate) fn of(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(behind) = source {
            let behind_text = behind.to_string();
            if !text.contains(&behind_text) {
                let _ = write!(text, ": {behind_text}");
            }
            source = behind.source();
        }
        Self(text)
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::of(&error)
    }
}

/// Why a read or write came to nothing. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A precondition did not hold.
    #[error("the state changed meanwhile")]
    Conflict,
    /// A log has an entry at that index already.
    #[error("the issuance log {log_id} has an entry {index} already")]
    EntryExists {
        /// Which log.
        log_id: u32,
        /// The place in the log.
        index: u64,
    },
    /// A commit carried entries or signatures to where none are kept.
    #[error("SQLite keeps no issuance log: its entries are in data_dir")]
    NoLog,
    /// The database refused.
    #[error("the database cannot be used: {0}")]
    Database(#[from] DatabaseError),
    /// The batch that this write was part of failed as a whole.
    #[error("the database did not take the write: {0}")]
    Batch(String),
    /// The schema is newer than this program, or damaged.
    #[error("the database schema cannot be used: {0}")]
    Schema(String),
    /// Another data directory writes under the name of this replica.
    #[error("another data_dir has the name {name} in this database")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Nobody writes under this name any more.
    #[error("{name} was fenced out: another control plane seals its issuance log, or did")]
    FencedOut {
        /// The name.
        name: String,
    },
    /// Somebody who uses the database could not read it.
    #[error("a {what} is written at level {since} and above, and the database is at level {level}")]
    TooNew {
        /// Which kind of value.
        what: &'static str,
        /// The level that it came with.
        since: i32,
        /// What may be written.
        level: i32,
    },
    /// SQLite has one writer.
    #[error("no other control plane uses this database")]
    NoOther,
    /// The writer stopped for good: what the database holds is not known, or another writes in its
    /// place.
    #[error("the store stopped for good; restart once its cause is mended")]
    Stopped,
    /// A value that this program did not write.
    #[error("the database holds a damaged {what}")]
    Damaged {
        /// Which kind of value.
        what: &'static str,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}
