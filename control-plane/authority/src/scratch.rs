//! Where a backup lies while it is made: a folder in the data directory that nobody else would
//! name so, and of which nothing is removed but what a backup put there.
//!
//! A marker tells such a folder from one that somebody made, or mounted, under its name. It is the
//! first thing in the folder and the last to go.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use countersign_ca::log::FOLDER;
use tracing::warn;

use countersign_store::{DATABASE, DataDir};

/// The folder, within the data directory.
pub(super) const SCRATCH: &str = ".backup-links";
/// The marker in it.
pub(super) const MARKER: &str = "made-by-a-backup";

/// The folder, removed at the end, however that comes.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder; what a backup before it left there goes.
    ///
    /// # Errors
    /// The disk, or something else has the name of the folder.
    pub(super) fn new(data_dir: &DataDir) -> io::Result<Self> {
        remove(&data_dir.path().join(SCRATCH))?;
        let folder = data_dir.new_subdirectory(SCRATCH)?;
        data_dir.touch(&folder.join(MARKER))?;
        File::open(&folder)?.sync_all()?;
        Ok(Self(folder))
    }

    pub(super) fn database(&self) -> PathBuf {
        self.0.join(DATABASE)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join(FOLDER)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // One that cannot be removed now is removed by the next backup, or at the next start.
        let _ = remove(&self.0);
    }
}

/// Removes what a process that was killed left of a backup: links keep files that are pruned. What
/// cannot be removed costs space, and is no reason not to start.
pub(super) fn remove_leftovers(data_dir: &Path) {
    if let Err(error) = remove(&data_dir.join(SCRATCH)) {
        warn!(%error, "what may be left of a backup was not removed");
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    let said = |error: io::Error| {
        let text = format!("{} cannot be removed: {error}", folder.display());
        io::Error::new(error.kind(), text)
    };
    match folder.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(said(error)),
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(foreign(folder)),
    }
    let marker = folder.join(MARKER);
    if marker.try_exists().map_err(said)? {
        remove_copies(folder).map_err(said)?;
        fs::remove_file(marker).map_err(said)?;
    }
    // An empty one is of a process that was killed before it made the marker.
    fs::remove_dir(folder).map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty => foreign(folder),
        _ => said(error),
    })
}

/// The links of the log, and the database with what its library keeps beside it.
fn remove_copies(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder.join(FOLDER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for file in fs::read_dir(folder)? {
        let file = file?;
        let name = file.file_name();
        if name.to_string_lossy().starts_with(DATABASE) && !file.file_type()?.is_dir() {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

fn foreign(folder: &Path) -> io::Error {
    let folder = folder.display();
    io::Error::other(format!(
        "{folder} is needed for backups and holds something else: move that away"
    ))
}

#[cfg(test)]
mod tests;
