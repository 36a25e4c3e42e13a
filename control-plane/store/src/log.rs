//! The issuance logs that a database keeps: entries that commits made, and the signatures beside them.
//!
//! An entry has a place in its log, the index, and a place in the order of commits. It is written once
//! and never removed. What its bytes mean is not known here.

use countersign_model::Seq;

use crate::{Store, StoreError};

/// An entry of an issuance log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Which log.
    pub log_id: u32,
    /// Its place in the log.
    pub index: u64,
    /// What is logged.
    pub bytes: Vec<u8>,
}

/// What was signed for an entry of an issuance log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSignature {
    /// Which log.
    pub log_id: u32,
    /// The place of the entry in the log.
    pub index: u64,
    /// The signature.
    pub bytes: Vec<u8>,
}

impl LogEntry {
    pub(crate) fn name(&self) -> (u32, u64) {
        (self.log_id, self.index)
    }
}

impl LogSignature {
    pub(crate) fn name(&self) -> (u32, u64) {
        (self.log_id, self.index)
    }
}

/// Entries of one log in their order, each with the commit that made it.
pub type LogEntries = Vec<(LogEntry, Seq)>;
/// An entry with the commit that made it, and its signature where there is one.
pub type LogRow = (Seq, LogEntry, Option<Vec<u8>>);
/// Entries of all logs in the order of commits, then of log and index.
pub type LogPage = Vec<LogRow>;

impl Store {
    /// Whether commits may carry entries of issuance logs: SQLite has none, there the log is in files.
    pub fn keeps_log(&self) -> bool {
        self.reader.keeps_log()
    }

    /// Entries of a log from an index on: a part of them where it is much. Ask again from the one after
    /// the last, until nothing is left.
    pub async fn log_entries(&self, log_id: u32, from: u64) -> Result<LogEntries, StoreError> {
        self.reader.log_entries(log_id, from).await
    }

    /// One entry of a log; `None` where there is none.
    pub async fn log_entry(&self, log_id: u32, index: u64) -> Result<Option<LogRow>, StoreError> {
        self.reader.log_entry(log_id, index).await
    }

    /// Indexes of entries of a log, from one on, beside which there is no signature, in their order: a part of
    /// them where they are many. Ask again from the one after the last, until nothing is left.
    pub async fn log_unsigned(&self, log_id: u32, from: u64) -> Result<Vec<u64>, StoreError> {
        self.reader.log_unsigned(log_id, from).await
    }

    /// The index after the last entry of a log: its size, where none is left out.
    pub async fn log_size(&self, log_id: u32) -> Result<u64, StoreError> {
        self.reader.log_size(log_id).await
    }

    /// Entries of all logs after one, which is named by its commit, log and index: a part of them where
    /// it is much. Ask again from the last, until nothing is left. The first page is the one after zeroes.
    ///
    /// A page may end within a commit. A signature that was made later than its entry is with its entry.
    pub async fn log_page(&self, after: (Seq, u32, u64)) -> Result<LogPage, StoreError> {
        self.reader.log_page(after).await
    }
}
