//! Retention: the bodies of old entries go, whole bundles at a time; tiles and checkpoints stay, so
//! that what is left can still be proved.
//!
//! The new lower end is durable before the first file goes. What a crash leaves behind is removed
//! by the next prune.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{LogError, TILE_WIDTH, files};

pub(crate) const RETAINED: &str = "first-retained";
/// Digits of a number of 64 bits, and a line feed.
const MAX_RETAINED_BYTES: u64 = 21;

/// The lowest index whose entry is kept.
pub(crate) fn first_retained(folder: &Path) -> Result<u64, LogError> {
    let path = folder.join(RETAINED);
    let text = files::read(&path, MAX_RETAINED_BYTES).map_err(LogError::unreadable(&path))?;
    let Some(text) = text else {
        return Ok(0);
    };
    let number = str::from_utf8(&text)
        .ok()
        .and_then(|text| text.trim_end().parse().ok());
    number.ok_or_else(|| LogError::damaged(&path, "is no number"))
}

/// Keeps in mind that the entries below `first` are going.
pub(crate) fn retain(folder: &Path, first: u64) -> Result<(), LogError> {
    files::write_atomically(&folder.join(RETAINED), format!("{first}\n").as_bytes())
}

/// Removes the bundles that lie wholly below an index.
pub(crate) fn remove_bundles(log: &Path, first: u64) -> Result<(), LogError> {
    remove_below(&log.join("tile").join("entries"), 0, first / TILE_WIDTH)
}

/// Removes from a folder of bundles, the first of which has number `base`, those below `limit`.
/// Folders hold a thousand names: `x001` the bundles from 1000 × (1000 × base + 1) on.
fn remove_below(folder: &Path, base: u64, limit: u64) -> Result<(), LogError> {
    for (path, name) in names(folder)? {
        if let Some(above) = name
            .strip_prefix('x')
            .and_then(|digits| digits.parse::<u64>().ok())
        {
            remove_below(&path, (base + above) * 1000, limit)?;
            // Not empty: something of it is kept.
            let _ = fs::remove_dir(&path);
        } else if name
            .parse::<u64>()
            .is_ok_and(|number| base + number < limit)
        {
            files::remove(&path).map_err(LogError::refused(&path))?;
        }
    }
    Ok(())
}

fn names(folder: &Path) -> Result<Vec<(PathBuf, String)>, LogError> {
    let mut names = Vec::new();
    for name in fs::read_dir(folder).map_err(LogError::unreadable(folder))? {
        let path = name.map_err(LogError::unreadable(folder))?.path();
        let text = path.file_name().and_then(|name| name.to_str());
        names.extend(text.map(str::to_owned).map(|name| (path.clone(), name)));
    }
    Ok(names)
}
