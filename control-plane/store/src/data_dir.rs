//! The data directory: owner-only, locked by one process, written without halves.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use countersign_serve::durable_file;
use countersign_serve::ownership::{DirectoryError, NotOurs, make_ours};
use rustix::fs::{FlockOperation, flock};

/// Mode of the directories: nobody but the owner.
const DIR_MODE: u32 = 0o700;
/// Mode of every file.
const FILE_MODE: u32 = 0o600;
const LOCK: &str = "lock";
/// The file that is written to see whether there is room.
const TRIAL: &str = "trial";
/// Its size: what one batch of the issuance log may need.
const ROOM: usize = 64 * 1024;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds it.
    #[error(
        "{} is in use by another control plane: stop that process, or set another data_dir",
        .0.display()
    )]
    Locked(PathBuf),
    /// Somebody else can exchange what is in it.
    #[error("{error}: {}", .error.remedy("data_dir"))]
    NotOurs {
        /// Who, and where.
        error: NotOurs,
    },
    /// It cannot be made, read or written.
    #[error("{} cannot be used: {error}", .path.display())]
    Io {
        /// The path that failed.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl From<DirectoryError> for DataDirError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NotOurs(error) => Self::NotOurs { error },
            DirectoryError::Io {
                path,
                source: error,
                ..
            } => Self::Io { path, error },
        }
    }
}

/// A locked data directory. The lock ends with this value.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory where it is missing, and locks it. Nobody else can exchange it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |error| DataDirError::Io {
            path: path.to_owned(),
            error,
        };
        make_ours(path)?;
        let lock = open_file(&path.join(LOCK)).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Locked(path.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes an empty file with the right mode, so that no library chooses another.
    pub fn touch(&self, path: &Path) -> io::Result<()> {
        open_file(path).map(drop)
    }

    /// Whether the disk takes a file of `ROOM` bytes. It does not stay.
    pub fn try_room(&self) -> io::Result<()> {
        durable_file::write(&self.path.join(TRIAL), &[0; ROOM])?;
        std::fs::remove_file(self.path.join(TRIAL))
    }

    /// Makes a directory in here.
    pub fn subdirectory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        make_dir(&path)?;
        Ok(path)
    }

    /// Makes a directory in here that is not there yet.
    pub fn new_subdirectory(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path.join(name);
        DirBuilder::new().mode(DIR_MODE).create(&path)?;
        Ok(path)
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
}
