//! What is left on the disk of a machine that ended.
//!
//! Where a process was killed the kernel writes what it was given: all of it is there. Where the power
//! went, a file has what was on the disk (`shim/machine.c`), and the disk may have got to more: to all
//! that was written, or to a part of what was added at the end. That a file is there, under its name, is
//! on the disk at once, as file systems with a journal have it by the next fsync.

mod trouble;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use fastrand::Rng;

use crate::machine::DISK;
pub(crate) use trouble::{Disks, LENGTH, Trouble};

/// How a machine ended.
pub(crate) enum Loss<'r> {
    /// The process alone: nothing is lost.
    Nothing,
    /// The power went. What the disk got to is drawn, file by file.
    Unsynced(&'r mut Rng),
}

/// Copies a folder as a later start finds it. The memory that SQLite shares between processes is of no
/// disk.
pub(crate) fn copy(from: &Path, to: &Path, loss: &mut Loss<'_>) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    let mut entries = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy(&path, &target, loss)?;
        } else if !name.to_string_lossy().ends_with("-shm") {
            let found = Found::at(&path)?;
            match loss {
                Loss::Nothing => found.place(&target)?,
                Loss::Unsynced(random) => found.after_power(random).place(&target)?,
            }
            fs::set_permissions(&target, fs::metadata(&path)?.permissions())?;
        }
    }
    Ok(())
}

/// A file, as processes see it and as it is on the disk.
struct Found {
    written: Vec<u8>,
    /// `None`: nothing of it.
    synced: Option<Vec<u8>>,
}

impl Found {
    fn at(path: &Path) -> io::Result<Self> {
        let number = fs::metadata(path)?.ino().to_string();
        let synced = match fs::read(Path::new(DISK).join(number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read?),
        };
        Ok(Self {
            written: fs::read(path)?,
            synced,
        })
    }

    /// What the disk got to before the power went, which is all that there is then.
    fn after_power(self, random: &mut Rng) -> Self {
        let mut left = self.synced.unwrap_or_default();
        if left != self.written {
            let added = self.written.get(left.len()..).unwrap_or_default();
            match random.u8(0..3) {
                0 => left = self.written,
                1 if !added.is_empty() => {
                    left.extend_from_slice(&added[..random.usize(0..added.len())]);
                }
                _ => {}
            }
        }
        Self {
            synced: Some(left.clone()),
            written: left,
        }
    }

    fn place(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        if let Some(synced) = &self.synced {
            file.write_all_at(synced, 0)?;
            file.sync_all()?;
        }
        if self.synced.as_ref() != Some(&self.written) {
            file.set_len(0)?;
            file.write_all_at(&self.written, 0)?;
        }
        Ok(())
    }
}
