//! Judges an issuance log from files alone: the published part of it, which is checkpoints, tiles and
//! entry bundles (C2SP tlog-tiles), and its verifier key.
//!
//! Trees, tiles and notes are checked with the crates `tlog_tiles` and `signed_note`, certificates are
//! read with `x509-parser`: the code that wrote a log is not used to judge it, and this crate does not
//! depend on that of the writer. Every length of a file is bounded, nothing in one is trusted, and no
//! key but a public one is read.
//!
//! - [`Audit`] recomputes logs up to their signed checkpoints and says what is wrong, by file and byte;
//! - [`prove`] makes a [`Proof`] that a certificate is in a log, which is checked without the log;
//! - [`entries`] tells what published entries say, and judges nothing.
//!
//! ```no_run
//! # use countersign_audit::{Audit, AuditError};
//! # fn main() -> Result<(), AuditError> {
//! let mut audit = Audit::of("/var/lib/countersign/log".as_ref());
//! audit.keys = vec!["log.vkey".to_owned()];
//! let verdict = audit.judge(&|done, of| eprintln!("{done} of {of} entries"))?;
//! for flaw in &verdict.flaws {
//!     eprintln!("{}", flaw.line());
//! }
//! # Ok(())
//! # }
//! ```

mod bundle;
mod census;
mod entry;
mod error;
mod flaw;
mod folder;
mod frontier;
mod kept;
mod keys;
mod named;
mod proof;
mod published;
mod report;
mod together;
mod tree;
mod unread;
mod verify;
mod walk;

pub use census::{GoesOn, SharedKey};
pub use entry::Certified;
pub use error::AuditError;
pub use flaw::{Flaw, MAX_FLAWS};
pub use folder::Folder;
pub use keys::LogKeys;
pub use named::{Join, Seal};
pub use proof::{Proof, Proved, prove};
pub use published::{PublishedEntry, entries, first_retained, size};
pub use report::Report;
pub use together::Missing;
pub use unread::Unread;
pub use verify::{Audit, Verdict};
pub use walk::Progress;

#[cfg(test)]
mod tests;
