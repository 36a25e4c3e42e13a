//! Where entries are kept besides the disk of the log, so that they survive its loss.
//!
//! With an archive an entry goes there first, then into the journal, then it is acknowledged:
//!
//! | what fails | what the log does |
//! |---|---|
//! | the archive, and nothing is kept | the batch is refused, its indexes are given again |
//! | the archive, and nobody knows what is kept | the log stops; the next open asks the archive |
//! | the disk, behind the archive | the entries are acknowledged: they are durable. The log holds them in memory, journals them before anything else, and until then refuses what is new |
//! | an fsync behind the archive | the log stops; the next open takes them from the archive |
//!
//! So the archive has at any time everything that the journal has, and at most a batch more; an
//! index that it has is never given to another entry. What the journal lacks at an open (a crash
//! between the two, an older copy of the folder, an empty disk) is appended to it ([`heal`]).

use std::fmt::Debug;
use std::sync::Arc;

use crate::journal::{JournalStore, Tail, Writer};
use crate::publish::Publisher;
use crate::tile::read_tile;
use crate::tree::leaf_hash;
use crate::{Hash, LogError, MAX_ENTRY_BYTES, TILE_WIDTH};

/// Segments of the journal that healing fills before it publishes them: 65,536 entries.
const HEALED_SEGMENTS: usize = 16;
/// Most entries, and about as many bytes, that [`fill`] gives to an archive at once.
const FILLED_ENTRIES: usize = 1024;
const FILLED_BYTES: usize = 1 << 20;

/// Keeps the entries of one log. It is called on the thread of the journal and where the log is
/// opened, and may block there: whoever opens a log with an archive does so off the runtime.
pub trait Archive: Debug + Send {
    /// Keeps entries from an index on, all or none; durable on return. Says at which place of the
    /// archive's own order they are.
    ///
    /// # Errors
    /// They are not kept, or nobody knows.
    fn keep(&mut self, first: u64, entries: &[&[u8]]) -> Result<u64, NotKept>;

    /// How many entries of the log it has: one more than the highest index.
    ///
    /// # Errors
    /// It cannot be asked now, and why.
    fn end(&mut self) -> Result<u64, String>;

    /// A page of its entries from an index on with their indexes, in order; empty only where there
    /// are none. The archive bounds the page: it is in memory as a whole.
    ///
    /// # Errors
    /// It cannot be asked now, and why.
    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, String>;
}

/// Why an archive did not keep a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// Nothing of it is kept, for this reason; the same indexes may be given again.
    Refused(String),
    /// It is not known what is kept.
    Stopped,
}

impl From<NotKept> for LogError {
    fn from(why: NotKept) -> Self {
        match why {
            NotKept::Refused(reason) => Self::NotArchived(reason),
            NotKept::Stopped => Self::Stopped,
        }
    }
}

/// Appends to the journal what the archive has beyond it, a page at a time, after the last entry
/// that both have was found to be the same.
pub(crate) fn heal<S: JournalStore>(
    archive: &mut dyn Archive,
    publisher: &mut Publisher,
    tail: &Tail,
    writer: &mut Writer<S>,
) -> Result<(), LogError> {
    let (before, end) = (
        writer.next(),
        archive.end().map_err(|reason| unreadable(&reason))?,
    );
    if end < before {
        return Err(LogError::ArchiveBehind {
            archive: end,
            journal: before,
        });
    }
    if let Some(last) = before.checked_sub(1) {
        let theirs = page(archive, last)?;
        if leaf_hash(&theirs[0]) != leaf(publisher, tail, last)? {
            let what = format!("entry {last} of the archive is another than that of the journal");
            return Err(LogError::Foreign(what));
        }
    }
    while writer.next() < end {
        let entries = page(archive, writer.next())?;
        let mut rest = &entries[..];
        while !rest.is_empty() {
            if tail.segments() >= HEALED_SEGMENTS {
                publisher.catch_up(tail, writer.next())?;
            }
            let room = writer.begin_segment()?;
            let (now, later) = rest.split_at(room.min(rest.len()));
            writer.lay_out(now.iter().map(Vec::as_slice));
            writer.write()?;
            rest = later;
        }
    }
    if before < writer.next() {
        let entries = writer.next() - before;
        tracing::warn!(
            entries,
            first = before,
            "entries that the issuance log lacked were taken from its archive"
        );
    }
    Ok(())
}

/// Gives an archive what it lacks; `entries` reads those of the log from an index on.
pub(crate) fn fill<I>(
    archive: &mut dyn Archive,
    entries: impl FnOnce(u64) -> I,
) -> Result<(), LogError>
where
    I: Iterator<Item = Result<(u64, Arc<[u8]>), LogError>>,
{
    let end = archive.end().map_err(|reason| unreadable(&reason))?;
    let (mut first, mut batch, mut bytes) = (None, Vec::new(), 0);
    for entry in entries(end) {
        let (index, entry) = entry?;
        first.get_or_insert(index);
        bytes += entry.len();
        batch.push(entry);
        if batch.len() >= FILLED_ENTRIES || bytes >= FILLED_BYTES {
            give(archive, first.take(), &mut batch)?;
            bytes = 0;
        }
    }
    give(archive, first, &mut batch)
}

fn give(
    archive: &mut dyn Archive,
    first: Option<u64>,
    batch: &mut Vec<Arc<[u8]>>,
) -> Result<(), LogError> {
    if let Some(first) = first {
        let entries: Vec<&[u8]> = batch.iter().map(AsRef::as_ref).collect();
        archive.keep(first, &entries)?;
    }
    batch.clear();
    Ok(())
}

/// Entries of the archive from an index on, without a hole.
pub(crate) fn page(archive: &mut dyn Archive, from: u64) -> Result<Vec<Vec<u8>>, LogError> {
    let page = archive.page(from).map_err(|reason| unreadable(&reason))?;
    let holds = page.iter().map(|(index, _)| *index);
    if page.is_empty() || !holds.eq(from..from + page.len() as u64) {
        let what = format!("the archive lacks an entry at or behind {from}");
        return Err(LogError::Damaged(what));
    }
    if page.iter().any(|(_, entry)| entry.len() > MAX_ENTRY_BYTES) {
        return Err(LogError::TooLong);
    }
    Ok(page.into_iter().map(|(_, entry)| entry).collect())
}

/// The leaf of an entry of the log: from the journal, or from the tiles, which are never pruned.
fn leaf(publisher: &Publisher, tail: &Tail, index: u64) -> Result<Hash, LogError> {
    if let Some(entries) = tail.read(index, index + 1)? {
        return Ok(leaf_hash(&entries[0]));
    }
    // What left the journal is in full tiles.
    let tile = read_tile(publisher.folder(), 0, index / TILE_WIDTH, TILE_WIDTH)?;
    let at = usize::try_from(index % TILE_WIDTH).expect("a tile has 256 hashes");
    Ok(tile[at])
}

/// The archive could not be asked.
pub(crate) fn unreadable(reason: &str) -> LogError {
    LogError::Unreadable(format!("its archive: {reason}"))
}
