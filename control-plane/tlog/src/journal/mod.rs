//! The journal: what is durable and not yet in tiles that a checkpoint covers.
//!
//! A segment is a file `journal/<index of its first record>` of at most [`SEGMENT_ENTRIES`]
//! records; it is removed once full bundles under a checkpoint hold all of it.

pub(crate) mod record;
mod replay;
mod store;
mod tail;
mod writer;

pub(crate) use replay::replay;
pub(crate) use store::{Disk, JournalStore};
pub(crate) use tail::Tail;
pub(crate) use writer::Writer;

use std::path::{Path, PathBuf};

/// Entries of a full segment: sixteen bundles.
pub(crate) const SEGMENT_ENTRIES: u64 = 16 * crate::TILE_WIDTH;
/// Most segments that wait for a checkpoint: about a million entries. Then appends are refused.
pub(crate) const MAX_SEGMENTS: usize = 256;

/// The folder of the segments.
pub(crate) fn folder(log: &Path) -> PathBuf {
    log.join("journal")
}

/// Index of the first record of the segment that holds an index.
fn segment_of(index: u64) -> u64 {
    index - index % SEGMENT_ENTRIES
}
