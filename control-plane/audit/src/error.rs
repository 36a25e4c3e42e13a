//! Why nothing was judged, or not what was asked for.

use std::io;
use std::path::PathBuf;

use countersign_model::Serial;
use signed_note::VerifierError;

use crate::unread::Unread;

/// What stops an auditor before there is a verdict.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder has no newest checkpoint, so it is no log, or a very new one.
    #[error("{} {unread}", path.display())]
    NoCheckpoint {
        /// Where one should be.
        path: PathBuf,
        /// What is there.
        unread: Unread,
    },
    /// The checkpoints that a log keeps of itself cannot be listed.
    #[error("{} cannot be read: {error}", folder.display())]
    Unlisted {
        /// Where they are.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A text that was given as a verifier key is none.
    #[error("{text:?} is no verifier key: {error}")]
    NotAKey {
        /// The text.
        text: String,
        /// What is wrong with it.
        error: VerifierError,
    },
    /// The file of a verifier key cannot be read.
    #[error("{} {unread}", path.display())]
    KeyUnread {
        /// The file.
        path: PathBuf,
        /// Why not.
        unread: Unread,
    },
    /// Several logs were given, and a key for some of them.
    #[error("{keys} verifier keys were given for {logs} logs")]
    TooFewKeys {
        /// Keys that were given.
        keys: usize,
        /// Logs that were given.
        logs: usize,
    },
    /// The log is not what its checkpoint signs, where it was read.
    #[error("{0}")]
    Unsound(String),
    /// A certificate is behind the newest checkpoint, or of another log.
    #[error("the newest checkpoint covers {size} entries; the serial names entry {index}")]
    NotCovered {
        /// Entries that the checkpoint covers.
        size: u64,
        /// The entry that was asked for.
        index: u64,
    },
    /// The entry of a certificate has no body any more.
    #[error("the body of entry {index} was removed; bodies begin at {retained}")]
    Removed {
        /// The entry that was asked for.
        index: u64,
        /// The first that has a body.
        retained: u64,
    },
    /// The entry that a serial names is something else.
    #[error("entry {index} is not the certificate {serial}")]
    NotThatCertificate {
        /// The entry.
        index: u64,
        /// The serial that names it.
        serial: Serial,
    },
    /// The file of a proof cannot be read.
    #[error("{} {unread}", path.display())]
    ProofUnread {
        /// The file.
        path: PathBuf,
        /// Why not.
        unread: Unread,
    },
    /// A file is no proof as [`Proof::to_text`](super::Proof::to_text) writes it.
    #[error("{} is no proof with an entry", path.display())]
    NotAProof {
        /// The file.
        path: PathBuf,
    },
    /// A proof does not hold.
    #[error("{0}")]
    ProofRefused(String),
}
