//! Where tiles and bundles are (C2SP tlog-tiles), and how they are written: many files, then one
//! round of fsyncs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::bundle::MAX_BUNDLE_BYTES;
use crate::tree::Hash;
use crate::{LogError, TILE_WIDTH, files};

/// Hashes are 32 bytes.
const HASH_BYTES: usize = 32;
/// Most files that are open at once before they are synced.
const MAX_UNSYNCED: usize = 64;
/// A path of tiles goes through folders of a thousand.
const PATH_BASE: u64 = 1000;

/// The path of a hash tile below the log's folder. Of a full tile the width is left out.
pub(crate) fn tile_path(level: u8, number: u64, width: u64) -> PathBuf {
    path(&level.to_string(), number, width)
}

/// The path of an entry bundle below the log's folder.
pub(crate) fn bundle_path(number: u64, width: u64) -> PathBuf {
    path("entries", number, width)
}

fn path(kind: &str, number: u64, width: u64) -> PathBuf {
    let mut name = format!("{:03}", number % PATH_BASE);
    let mut above = number / PATH_BASE;
    while above > 0 {
        name = format!("x{:03}/{name}", above % PATH_BASE);
        above /= PATH_BASE;
    }
    if width < TILE_WIDTH {
        name = format!("{name}.p/{width}");
    }
    Path::new("tile").join(kind).join(name)
}

/// The hashes of a tile.
pub(crate) fn read_tile(
    folder: &Path,
    level: u8,
    number: u64,
    width: u64,
) -> Result<Vec<Hash>, LogError> {
    let path = folder.join(tile_path(level, number, width));
    let length = width * HASH_BYTES as u64;
    let bytes = files::read(&path, length).map_err(LogError::unreadable(&path))?;
    let bytes = bytes.ok_or_else(|| LogError::damaged(&path, "is missing"))?;
    parse(&bytes, width).ok_or_else(|| LogError::damaged(&path, "is not as long as its width says"))
}

fn parse(bytes: &[u8], width: u64) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    (rest.is_empty() && hashes.len() as u64 == width).then(|| hashes.to_vec())
}

/// The bytes of a bundle; `None` where there is no such file.
pub(crate) fn read_bundle(
    folder: &Path,
    number: u64,
    width: u64,
) -> Result<Option<Vec<u8>>, LogError> {
    let path = folder.join(bundle_path(number, width));
    files::read(&path, MAX_BUNDLE_BYTES).map_err(LogError::unreadable(&path))
}

/// Files that were written and are not yet durable.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    folder: &'a Path,
    files: Vec<File>,
    folders: BTreeSet<PathBuf>,
}

impl<'a> Written<'a> {
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            files: Vec::new(),
            folders: BTreeSet::new(),
        }
    }

    /// Writes the hashes of a tile.
    pub(crate) fn tile(&mut self, level: u8, number: u64, hashes: &[Hash]) -> Result<(), LogError> {
        let path = tile_path(level, number, hashes.len() as u64);
        self.file(&path, hashes.as_flattened())
    }

    /// Writes a bundle.
    pub(crate) fn bundle(&mut self, number: u64, width: u64, bytes: &[u8]) -> Result<(), LogError> {
        self.file(&bundle_path(number, width), bytes)
    }

    fn file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
        let path = self.folder.join(path);
        let folder = path.parent().expect("below the log's folder");
        if !self.folders.contains(folder) {
            files::make_dir(folder).map_err(LogError::refused(folder))?;
            self.folders.insert(folder.to_owned());
        }
        let write = || -> io::Result<File> {
            let mut file = files::create(&path)?;
            file.write_all(bytes)?;
            Ok(file)
        };
        self.files.push(write().map_err(LogError::refused(&path))?);
        if self.files.len() == MAX_UNSYNCED {
            self.sync_files()?;
        }
        Ok(())
    }

    /// Makes everything durable. After an error it is not known what is.
    pub(crate) fn sync(mut self) -> Result<(), LogError> {
        self.sync_files()?;
        for folder in &self.folders {
            files::sync_dir(folder).map_err(|_| LogError::Stopped)?;
        }
        Ok(())
    }

    /// The first fsync carries most of the others' work with it.
    fn sync_files(&mut self) -> Result<(), LogError> {
        for file in self.files.drain(..) {
            file.sync_all().map_err(|_| LogError::Stopped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_standard() {
        let shown = |path: PathBuf| path.display().to_string();
        assert_eq!(shown(tile_path(0, 0, 256)), "tile/0/000");
        assert_eq!(shown(tile_path(1, 1_234_067, 256)), "tile/1/x001/x234/067");
        assert_eq!(
            shown(bundle_path(1_234_067, 8)),
            "tile/entries/x001/x234/067.p/8"
        );
    }
}
