//! What can go wrong with the log, told by what the caller can do about it.

use std::io;
use std::path::Path;

/// Why the log cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused a write; nothing of it was kept, later writes may succeed.
    #[error("the issuance log did not take the write: {0}")]
    Refused(String),
    /// The archive refused the entries; nothing of them was kept, later ones may be taken.
    #[error("the archive of the issuance log did not take the entries: {0}")]
    NotArchived(String),
    /// The disk or the archive refused a read; nothing was changed.
    #[error("the issuance log cannot be read: {0}")]
    Unreadable(String),
    /// An fsync failed, or the archive does not know: what is kept is not known, so nothing is written
    /// any more.
    #[error("the issuance log stopped after an input/output error; restart once the disk is sound")]
    Stopped,
    /// What is stored is not what was written.
    #[error("the issuance log is damaged: {0}")]
    Damaged(String),
    /// The folder holds the log of another origin or key, or the origin cannot be one.
    #[error("this is not the issuance log that was asked for: {0}")]
    Foreign(String),
    /// The archive has fewer entries than the journal: it lost some.
    #[error(
        "the archive of the issuance log has {archive} entries and the disk {journal}: \
         it lost what came later"
    )]
    ArchiveBehind {
        /// Entries of the archive.
        archive: u64,
        /// Entries on the disk.
        journal: u64,
    },
    /// The entry is longer than [`crate::MAX_ENTRY_BYTES`].
    #[error("an entry of the issuance log is too long")]
    TooLong,
}

impl LogError {
    pub(crate) fn refused(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self::Refused(format!("{path}: {error}"))
    }

    pub(crate) fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self::Unreadable(format!("{path}: {error}"))
    }

    pub(crate) fn damaged(path: &Path, what: &str) -> Self {
        Self::Damaged(format!("{}: {what}", path.display()))
    }

    pub(crate) fn damaged_at(path: &Path, offset: u64, what: &str) -> Self {
        Self::Damaged(format!("{} at byte {offset}: {what}", path.display()))
    }
}

/// Why an entry was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError<E> {
    /// The entry could not be made; its index is given to the next one.
    #[error(transparent)]
    Made(E),
    /// The log refused it.
    #[error(transparent)]
    Log(LogError),
}
