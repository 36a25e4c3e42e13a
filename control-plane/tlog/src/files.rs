//! Files and folders: owner-only, written so that they are there whole or not at all, read with a
//! bound.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::LogError;

const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Makes a folder where it is missing, and its entry in the folder above durable.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(path.parent().ok_or(error)?)?;
            make_dir(path)
        }
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}

/// Makes or empties a file that is read and written.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    options().create(true).truncate(true).open(path)
}

/// Opens a file to read and write, and makes it where it is missing.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    options().create(true).truncate(false).open(path)
}

/// Opens a file to read and write.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    options().open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

/// Temporary file, fsync, rename, fsync of the folder. Where an fsync fails, it is not known which
/// of the two is there: the log stops.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<File> {
        let mut file = create(&temporary)?;
        file.write_all(bytes)?;
        Ok(file)
    };
    let placed = write().map_err(LogError::refused(path)).and_then(|file| {
        file.sync_all().map_err(|_| LogError::Stopped)?;
        fs::rename(&temporary, path).map_err(LogError::refused(path))
    });
    if placed.is_err() {
        // A full disk leaves half a file behind; that it cannot be removed is the lesser error.
        let _ = fs::remove_file(&temporary);
        return placed;
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    sync_dir(folder).map_err(|_| LogError::Stopped)
}

/// The whole file, or `None` where there is none. A file beyond the bound is an error.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("longer than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// Copies into a file that is not there yet: one that is may be the original by another name.
pub(crate) fn copy_new(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = options().create_new(true).open(to)?;
    io::copy(&mut from, &mut to).map(drop)
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let [from, link, copy] = ["from", "link", "copy"].map(|it| folder.path().join(it));
        fs::write(&from, "entries").unwrap();
        fs::hard_link(&from, &link).unwrap();
        let refused = copy_new(&from, &link).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&from).unwrap(), b"entries");
        copy_new(&from, &copy).unwrap();
        assert_eq!(fs::read(&copy).unwrap(), b"entries");
    }
}
