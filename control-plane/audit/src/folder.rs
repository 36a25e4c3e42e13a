//! The files of a log, as an auditor reads them: every length is bounded, nothing is trusted.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tlog_tiles::{HASH_SIZE, Hash, Tile};

use crate::error::AuditError;
use crate::unread::Unread;

/// Height of the tiles (C2SP tlog-tiles).
pub(crate) const HEIGHT: u8 = 8;
/// Hashes of a full tile and entries of a full bundle.
pub(crate) const WIDTH: u32 = 1 << HEIGHT;
/// Most bytes of a checkpoint, a key or a number.
pub(crate) const MAX_TEXT_BYTES: u64 = 16 * 1024;
/// Most bytes of a bundle: 256 entries of 65,535 bytes behind two bytes of length.
const MAX_BUNDLE_BYTES: u64 = 256 * (2 + 65_535);
/// Most kept checkpoints that are read: one an hour for eleven years.
const MAX_KEPT: usize = 100_000;

/// A folder that holds a log.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The log in this folder. Nothing is read yet.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its newest checkpoint is.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// The newest checkpoint, not yet verified.
    pub(crate) fn checkpoint(&self) -> Result<Vec<u8>, AuditError> {
        let path = self.checkpoint_path();
        read(&path, MAX_TEXT_BYTES).map_err(|unread| AuditError::NoCheckpoint { path, unread })
    }

    /// The verifier key beside the log.
    pub(crate) fn vkey_path(&self) -> PathBuf {
        self.path.join("key.vkey")
    }

    /// Paths of the kept checkpoints.
    pub(crate) fn kept(&self) -> Result<Vec<PathBuf>, AuditError> {
        let folder = self.path.join("checkpoints");
        let unlisted = |error: io::Error| AuditError::Unlisted {
            folder: folder.clone(),
            error,
        };
        let mut paths = Vec::new();
        for name in fs::read_dir(&folder).map_err(unlisted)?.take(MAX_KEPT) {
            let path = name.map_err(unlisted)?.path();
            // What a crash left of a checkpoint that was being written.
            let unfinished = path.extension().is_some_and(|extension| extension == "new");
            paths.extend((!unfinished).then_some(path));
        }
        paths.sort();
        Ok(paths)
    }

    /// The lowest index whose body is kept.
    pub(crate) fn first_retained(&self) -> Result<u64, (PathBuf, String)> {
        let path = self.path.join("first-retained");
        match read(&path, MAX_TEXT_BYTES) {
            Err(Unread::Missing) => Ok(0),
            Err(unread) => Err((path, unread.to_string())),
            Ok(text) => str::from_utf8(&text)
                .ok()
                .and_then(|text| text.strip_suffix('\n')?.parse().ok())
                .ok_or_else(|| (path, "is no number".to_owned())),
        }
    }

    pub(crate) fn tile_path(&self, tile: Tile) -> PathBuf {
        // The library's paths name the height, those of the standard do not.
        let path = tile.path();
        self.path.join("tile").join(&path["tile/8/".len()..])
    }

    pub(crate) fn bundle_path(&self, tile: Tile) -> PathBuf {
        let path = Tile::new(HEIGHT, 0, tile.level_index(), tile.width(), true).path();
        let name = &path["tile/8/data/".len()..];
        self.path.join("tile").join("entries").join(name)
    }

    /// The hashes of a tile.
    pub(crate) fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Unread> {
        let most = u64::from(WIDTH) * HASH_SIZE as u64;
        let (bytes, exact) = as_wide(tile, most, |tile| self.tile_path(tile))?;
        let width = tile.width() as usize;
        let (hashes, rest) = bytes.as_chunks::<HASH_SIZE>();
        match hashes.get(..width) {
            Some(first) if rest.is_empty() && (hashes.len() == width || !exact) => {
                Ok(first.iter().copied().map(Hash).collect())
            }
            _ => Err(Unread::NotAsWide(tile.width())),
        }
    }

    /// The bundle under a tile of level 0, and whether it ends with the tile.
    pub(crate) fn bundle(&self, tile: Tile) -> Result<(Vec<u8>, bool), Unread> {
        as_wide(tile, MAX_BUNDLE_BYTES, |tile| self.bundle_path(tile))
    }
}

/// The file of a tile, or of a wider one that took the place of a partial one meanwhile; whether
/// it is the tile's own.
fn as_wide(
    tile: Tile,
    most: u64,
    path: impl Fn(Tile) -> PathBuf,
) -> Result<(Vec<u8>, bool), Unread> {
    let own = read(&path(tile), most);
    if tile.width() == WIDTH || !matches!(own, Err(Unread::Missing)) {
        return Ok((own?, true));
    }
    // A log that goes on replaces them in this order, each at most once while this loop runs.
    let wider = (tile.width() + 1..=WIDTH)
        .map(|width| Tile::new(HEIGHT, tile.level(), tile.level_index(), width, false));
    for wider in wider {
        match read(&path(wider), most) {
            Err(Unread::Missing) => {}
            found => return Ok((found?, false)),
        }
    }
    Err(Unread::Missing)
}

/// A full tile.
pub(crate) fn full(level: u8, number: u64) -> Tile {
    Tile::new(HEIGHT, level, number, WIDTH, false)
}

/// The partial tiles of a tree, the highest level first: in the order of the entries below them.
pub(crate) fn edge(size: u64) -> Vec<Tile> {
    let levels = (0u8..8)
        .rev()
        .map(|level| (level, size >> (level * HEIGHT)));
    let width = |hashes: u64| u32::try_from(hashes % u64::from(WIDTH)).unwrap_or(0);
    levels
        .filter(|(_, hashes)| width(*hashes) > 0)
        .map(|(level, hashes)| {
            let number = hashes / u64::from(WIDTH);
            Tile::new(HEIGHT, level, number, width(hashes), false)
        })
        .collect()
}

/// A file of at most so many bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>, Unread> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Io(error),
    })?;
    let mut bytes = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(Unread::Io)?;
    if bytes.len() as u64 > most {
        return Err(Unread::TooLong(most));
    }
    Ok(bytes)
}
