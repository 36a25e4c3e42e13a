//! Reading entries back: from bundles, and beyond them from the journal.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use crate::journal::Tail;
use crate::tile::{bundle_path, read_bundle};
use crate::{LogError, TILE_WIDTH, bundle};

/// Most entries that are read at once.
const CHUNK: u64 = TILE_WIDTH;

/// The durable entries from an index on, up to `end` or the end of their bundle; at least one.
pub(crate) fn chunk(
    folder: &Path,
    tail: &Tail,
    index: u64,
    end: u64,
) -> Result<Vec<Arc<[u8]>>, LogError> {
    let number = index / CHUNK;
    let end = end.min((number + 1) * CHUNK);
    if let Some(entries) = tail.read(index, end)? {
        return Ok(entries);
    }
    // What left the journal is in full bundles.
    let path = folder.join(bundle_path(number, TILE_WIDTH));
    let bytes = read_bundle(folder, number, TILE_WIDTH)?;
    let bytes = bytes.ok_or_else(|| LogError::damaged(&path, "is missing"))?;
    let mut entries = bundle::parse(&bytes, TILE_WIDTH).map_err(|offset| {
        LogError::damaged_at(
            &path,
            offset as u64,
            "the lengths of the entries do not add up",
        )
    })?;
    let skipped = usize::try_from(index % CHUNK).expect("a bundle has 256 entries");
    let wanted = usize::try_from(end - index).expect("a bundle has 256 entries");
    entries.drain(..skipped);
    entries.truncate(wanted);
    Ok(entries)
}

/// Entries one after the other, a bundle at a time in memory. Ends after the first error.
pub(crate) struct Scan<R> {
    read: R,
    next: u64,
    end: u64,
    ready: VecDeque<Arc<[u8]>>,
}

impl<R: FnMut(u64, u64) -> Result<Vec<Arc<[u8]>>, LogError>> Scan<R> {
    /// The entries `from..end`; `read` gives at least one of those that are asked for.
    pub(crate) fn new(from: u64, end: u64, read: R) -> Self {
        Self {
            read,
            next: from,
            end,
            ready: VecDeque::new(),
        }
    }
}

impl<R: FnMut(u64, u64) -> Result<Vec<Arc<[u8]>>, LogError>> Iterator for Scan<R> {
    type Item = Result<(u64, Arc<[u8]>), LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        if self.ready.is_empty() {
            match (self.read)(self.next, self.end) {
                Ok(entries) => self.ready = entries.into(),
                Err(error) => {
                    self.end = self.next;
                    return Some(Err(error));
                }
            }
        }
        let entry = self.ready.pop_front()?;
        self.next += 1;
        Some(Ok((self.next - 1, entry)))
    }
}
