//! What published entries say. Nothing is judged here but what is needed to read them: the signature
//! of the newest checkpoint, and that a bundle is one.

use jiff::Timestamp;
use tlog_tiles::Tile;

use crate::error::AuditError;
use crate::folder::{Folder, WIDTH, full};
use crate::keys::LogKeys;
use crate::{bundle, entry};

/// One entry as it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedEntry {
    /// Its place in the log.
    pub index: u64,
    /// When the control plane made it.
    pub at: Option<Timestamp>,
    /// The stable name of its kind; `unknown` for one of a later version, `undecodable` for what is
    /// no entry.
    pub kind: &'static str,
    /// What it says: names and values, in the order in which a line tells them.
    pub facts: Vec<(&'static str, String)>,
}

/// How many entries the newest checkpoint covers.
///
/// # Errors
/// There is none, or the log's own key did not sign it.
pub fn size(folder: &Folder, keys: &LogKeys) -> Result<u64, AuditError> {
    let checkpoint = keys.checkpoint(&folder.checkpoint()?);
    let checkpoint = checkpoint.map_err(|problem| {
        let path = folder.checkpoint_path();
        AuditError::Unsound(format!("{} {problem}", path.display()))
    })?;
    Ok(checkpoint.size())
}

/// The lowest index whose body is kept.
///
/// # Errors
/// The log does not say it.
pub fn first_retained(folder: &Folder) -> Result<u64, AuditError> {
    let retained = folder.first_retained();
    retained.map_err(|(path, problem)| AuditError::Unsound(format!("{} {problem}", path.display())))
}

/// The entries from one index on, below another. Both are of retained entries of the log.
///
/// # Errors
/// A bundle is missing, or is none.
pub fn entries(folder: &Folder, first: u64, end: u64) -> Result<Vec<PublishedEntry>, AuditError> {
    let (mut entries, mut next) = (Vec::new(), first);
    let width = u64::from(WIDTH);
    while next < end {
        let number = next / width;
        let count = width.min(end - number * width);
        let found = bodies(folder, number, count)?;
        let skipped = usize::try_from(next % width).expect("a bundle has 256 entries");
        let numbered = (next..).zip(found.into_iter().skip(skipped));
        entries.extend(numbered.map(|(index, bytes)| published(index, &bytes)));
        next = number * width + count;
    }
    Ok(entries)
}

/// The first entries of a bundle. A partial one may be replaced by a wider one meanwhile.
pub(crate) fn bodies(folder: &Folder, number: u64, count: u64) -> Result<Vec<Vec<u8>>, AuditError> {
    let unsound = |problem: String| AuditError::Unsound(problem);
    let count = u32::try_from(count).expect("a bundle has 256 entries");
    let whole = full(0, number);
    let tile = Tile::new(whole.height(), 0, number, count, false);
    let path = folder.bundle_path(tile);
    let bundle = folder.bundle(tile);
    let (bytes, ends) = bundle.map_err(|unread| unsound(format!("{} {unread}", path.display())))?;
    let placed = bundle::entries(&bytes, count as usize, ends).map_err(|offset| {
        let problem = "the lengths of the entries do not add up";
        unsound(format!("{} byte {offset}: {problem}", path.display()))
    })?;
    Ok(placed.iter().map(|placed| placed.entry.to_vec()).collect())
}

fn published(index: u64, bytes: &[u8]) -> PublishedEntry {
    let Ok(entry) = entry::decode(bytes) else {
        return PublishedEntry {
            index,
            at: None,
            kind: "undecodable",
            facts: Vec::new(),
        };
    };
    PublishedEntry {
        index,
        at: entry::made_at(&entry),
        kind: entry::kind(&entry),
        facts: entry::facts(&entry),
    }
}
