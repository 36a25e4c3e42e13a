//! The log of a replica that is gone, made again from the archive by one that is left.
//!
//! The entries are all there, the key that signed their checkpoints went with its disk. So the tree is
//! the same, under the same name, and its checkpoint bears the signature of another key, that of the
//! replica that seals: who knew the log knows its tree by the checkpoints that they kept, which it
//! begins with. It never grows: the archive takes nothing more for the one that is gone, and whoever
//! seals says size and root where they are kept.

use std::sync::Arc;

use crate::archive::{Archive, page, unreadable};
use crate::journal::SEGMENT_ENTRIES;
use crate::key::NoteKey;
use crate::publish::{Publisher, Source};
use crate::{Hash, LogError, Options, TILE_WIDTH, files};

/// Most entries that are in memory at once, but for a page that the archive bounds.
const PART_ENTRIES: u64 = SEGMENT_ENTRIES;

/// What was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// How many entries the log has.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
    /// By which key its checkpoint is known, as a C2SP verifier key.
    pub verifier_key: String,
}

/// Writes the tiles, bundles and checkpoint of a log from its archive into a folder that is missing or
/// was begun like this; `options.key` is the key of whoever seals, `options.origin` the name of the log.
/// It goes on where it was cut short, and does nothing where it was done. Before each part `goes_on` is told
/// how many entries are sealed and how many there are; `None` where it says no. Blocks on both.
///
/// # Errors
/// The disk or the archive; the folder holds another log, or more than the archive.
pub fn seal(
    options: &Options,
    archive: &mut dyn Archive,
    goes_on: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Option<Sealed>, LogError> {
    let folder = options.dir.as_path();
    files::make_dir(folder).map_err(LogError::refused(folder))?;
    let key = NoteKey::open(&options.key, &options.origin)?;
    let mut publisher = Publisher::open(folder, key)?;
    let end = archive.end().map_err(|reason| unreadable(&reason))?;
    if end < publisher.size() {
        return Err(LogError::ArchiveBehind {
            archive: end,
            journal: publisher.size(),
        });
    }
    check(&publisher, archive)?;
    while publisher.size() < end {
        if !goes_on(publisher.size(), end) {
            return Ok(None);
        }
        let first = bundle_of(publisher.size());
        let part = Part::read(archive, first, end.min(first + PART_ENTRIES))?;
        publisher.go_on(&part, part.end())?;
    }
    if end > 0 {
        publisher.keep()?;
    }
    Ok(Some(Sealed {
        size: publisher.size(),
        root: publisher.root(),
        verifier_key: publisher.verifier_key(),
    }))
}

/// The last bundle that was sealed is that of the archive.
fn check(publisher: &Publisher, archive: &mut dyn Archive) -> Result<(), LogError> {
    let Some(last) = publisher.size().checked_sub(1) else {
        return Ok(());
    };
    let part = Part::read(archive, bundle_of(last), publisher.size())?;
    match publisher.contradicted(&part, part.first)? {
        None => Ok(()),
        Some(tile) => Err(LogError::Foreign(format!(
            "the archive has other entries than {}",
            tile.display()
        ))),
    }
}

/// Index of the first entry of the bundle that an index is in.
fn bundle_of(index: u64) -> u64 {
    index - index % TILE_WIDTH
}

/// Some entries of the archive, from the first of a bundle on.
struct Part {
    first: u64,
    entries: Vec<Arc<[u8]>>,
}

impl Part {
    fn read(archive: &mut dyn Archive, first: u64, end: u64) -> Result<Self, LogError> {
        let (mut part, count) = (
            Self {
                first,
                entries: Vec::new(),
            },
            usize::try_from(end - first).expect("a part is bounded"),
        );
        while part.entries.len() < count {
            let page = page(archive, part.end())?;
            part.entries.extend(page.into_iter().map(Arc::from));
        }
        part.entries.truncate(count);
        Ok(part)
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

impl Source for Part {
    fn read(&self, from: u64, end: u64) -> Result<Option<Vec<Arc<[u8]>>>, LogError> {
        let at = |index: u64| usize::try_from(index.checked_sub(self.first)?).ok();
        let range = at(from).zip(at(end.min(self.end())));
        let entries = range.and_then(|(from, end)| self.entries.get(from..end));
        Ok(entries.map(<[_]>::to_vec))
    }
}
