//! A log as it is at one moment, as links to its files: made at once whatever its size, so that
//! whoever copies it may take their time.
//!
//! Full tiles and bundles never change, and are linked while the log goes on. What changes (right
//! edge, checkpoints, journal, signatures) is linked while nothing is published. Of what grows
//! afterwards, the length at that moment counts. Signatures come before the journal: none is for an
//! entry that the journal lacks.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::journal::{self, Tail};
use crate::prune::RETAINED;
use crate::publish::{CHECKPOINT, KEPT, Publisher, VERIFIER_KEY};
use crate::tile::{bundle_path, tile_path};
use crate::tree::{fulls, partials};
use crate::{LogError, TILE_WIDTH, attachments, files};

/// The links, in a folder of their own. Whoever asked for them removes it.
#[derive(Debug)]
pub struct Snapshot {
    folder: PathBuf,
    grows: BTreeMap<PathBuf, u64>,
}

impl Snapshot {
    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How much of a file belongs to the snapshot, where that is not the whole of it.
    pub fn length(&self, file: &Path) -> Option<u64> {
        self.grows.get(file).copied()
    }
}

/// Links one log.
pub(crate) struct Linking<'a> {
    log: &'a Path,
    to: &'a Path,
    grows: BTreeMap<PathBuf, u64>,
}

impl<'a> Linking<'a> {
    /// Begins with an empty folder.
    pub(crate) fn new(log: &'a Path, to: &'a Path) -> Result<Self, LogError> {
        files::make_dir(to).map_err(LogError::refused(to))?;
        Ok(Self {
            log,
            to,
            grows: BTreeMap::new(),
        })
    }

    /// What is full in a tree of `size` entries and was not in one of `before`. Bundles below
    /// `retained` are gone, or going.
    pub(crate) fn full(&mut self, before: u64, size: u64, retained: u64) -> Result<(), LogError> {
        for (level, numbers) in fulls(before, size) {
            for number in numbers {
                self.link(&tile_path(level, number, TILE_WIDTH))?;
                if level == 0 && number >= retained / TILE_WIDTH {
                    self.link_if_there(&bundle_path(number, TILE_WIDTH))?;
                }
            }
        }
        Ok(())
    }

    /// Everything else; for a caller that keeps the publisher meanwhile.
    pub(crate) fn rest(mut self, publisher: &Publisher, tail: &Tail) -> Result<Snapshot, LogError> {
        for path in children(&self.log.join(attachments::FOLDER))? {
            let length = path.metadata().map_err(LogError::unreadable(&path))?.len();
            self.growing(&path, length)?;
        }
        files::make_dir(&journal::folder(self.to)).map_err(LogError::refused(self.to))?;
        for (path, length) in tail.lengths() {
            self.growing(&path, length)?;
        }
        let size = publisher.size();
        for tile in partials(size) {
            self.link(&tile_path(tile.level, tile.number, tile.width))?;
        }
        let (number, width) = (size / TILE_WIDTH, size % TILE_WIDTH);
        if width > 0 {
            self.link(&bundle_path(number, width))?;
        }
        for path in children(&self.log.join(KEPT))? {
            self.link(self.below(&path))?;
        }
        for name in [CHECKPOINT, VERIFIER_KEY, RETAINED] {
            self.link_if_there(Path::new(name))?;
        }
        Ok(Snapshot {
            folder: self.to.to_owned(),
            grows: self.grows,
        })
    }

    fn growing(&mut self, path: &Path, length: u64) -> Result<(), LogError> {
        let name = self.below(path);
        self.link(name)?;
        self.grows.insert(self.to.join(name), length);
        Ok(())
    }

    fn link(&self, name: &Path) -> Result<(), LogError> {
        let to = self.to.join(name);
        self.linked(name, &to).map_err(LogError::refused(&to))
    }

    /// Of a bundle that is pruned meanwhile, or a file that a young log does not have.
    fn link_if_there(&self, name: &Path) -> Result<(), LogError> {
        let to = self.to.join(name);
        match self.linked(name, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LogError::refused(&to)(error))
            }
            _ => Ok(()),
        }
    }

    fn linked(&self, name: &Path, to: &Path) -> io::Result<()> {
        let from = self.log.join(name);
        let mut linked = fs::hard_link(&from, to);
        if is_missing(&linked) && !is_missing(&from.symlink_metadata()) {
            files::make_dir(to.parent().unwrap_or(self.to))?;
            linked = fs::hard_link(&from, to);
        }
        match linked {
            Err(error) if cannot_link(&error) => files::copy_new(&from, to),
            linked => linked,
        }
    }

    fn below<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(self.log).expect("a file of this log")
    }
}

fn is_missing<T>(done: &io::Result<T>) -> bool {
    matches!(done, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Whether a file can have no link there, though it may have a copy: another file system, one
/// without links, or one with as many as it takes.
fn cannot_link(error: &io::Error) -> bool {
    let why = Errno::from_io_error(error);
    matches!(
        why,
        Some(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK)
    )
}

/// The files of a folder, without what a crash left of one that was being written.
fn children(folder: &Path) -> Result<Vec<PathBuf>, LogError> {
    let unreadable = |error| LogError::unreadable(folder)(error);
    let mut paths = Vec::new();
    for child in fs::read_dir(folder).map_err(unreadable)? {
        let path = child.map_err(unreadable)?.path();
        let is_draft = path.extension().is_some_and(|it| it == "new");
        paths.extend((!is_draft).then_some(path));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_only_where_no_link_can_be() {
        for errno in [Errno::XDEV, Errno::PERM, Errno::OPNOTSUPP, Errno::MLINK] {
            assert!(cannot_link(&errno.into()), "{errno}");
        }
        for errno in [
            Errno::EXIST,
            Errno::NOENT,
            Errno::NOSPC,
            Errno::IO,
            Errno::ACCESS,
        ] {
            assert!(!cannot_link(&errno.into()), "{errno}");
        }
        assert!(!cannot_link(&io::Error::other("no errno")));
    }
}
