//! An append-only log of byte strings in the C2SP tlog-tiles layout.
//!
//! An entry is durable in the journal before [`Log::append`] returns; [`Log::publish`] moves what
//! is durable into tiles, entry bundles and a signed checkpoint, which anybody can check offline.
//! This crate knows bytes, not certificates, and reads no clock.

mod append;
mod appender;
mod archive;
mod attachments;
mod bundle;
mod error;
mod files;
mod journal;
mod key;
mod log;
mod note;
mod proof;
mod prune;
mod publish;
mod read;
mod seal;
mod snapshot;
mod succession;
mod tile;
mod tree;

pub use append::Appended;
pub use archive::{Archive, NotKept};
pub use error::{AppendError, LogError};
pub use log::{Log, Options};
pub use proof::{consistency, inclusion};
pub use seal::{Sealed, seal};
pub use snapshot::Snapshot;
pub use succession::take_over;
pub use tree::Hash;

/// Most bytes of one entry: a bundle gives its length in 16 bits.
pub const MAX_ENTRY_BYTES: usize = 65_535;
/// Most bytes of what is kept beside an entry.
pub const MAX_ATTACHMENT_BYTES: usize = 72;
/// Entries of a full bundle, and hashes of a full tile (C2SP tlog-tiles: height 8).
pub const TILE_WIDTH: u64 = tree::WIDTH as u64;
