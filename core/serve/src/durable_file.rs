//! A file that is there whole or not at all, also after the power was cut.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const MODE: u32 = 0o600;

/// Writes a file so that it is there whole or not at all: temporary file, fsync, rename, fsync of
/// the directory. No byte is ever readable by others.
///
/// # Errors
/// The kernel's; what stood there still does.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let placed = write_new(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = placed {
        // A full disk leaves half a file behind; that it cannot be removed is the lesser error.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

/// Removes a file, so that it is gone also after the power was cut; one that is not there is no error.
///
/// # Errors
/// The kernel's; it may still be there.
pub fn remove(path: &Path) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        // Also of one that is not there: the removal may have been cut short before it was on the disk.
        _ => File::open(directory)?.sync_all(),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
