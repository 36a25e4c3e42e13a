//! Why a file of a log was not read.

use std::io;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// There is no such file.
    #[error("is missing")]
    Missing,
    /// It has more bytes than any that is meant.
    #[error("is longer than {0} bytes")]
    TooLong(u64),
    /// A tile has another width than it should.
    #[error("does not hold {0} hashes")]
    NotAsWide(u32),
    /// It should be text.
    #[error("is no text")]
    NotText,
    /// The system says no.
    #[error("cannot be read: {0}")]
    Io(io::Error),
}
