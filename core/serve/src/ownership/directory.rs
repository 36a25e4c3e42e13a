//! A directory of our own: made where it is missing, closed where it is open to others.
//!
//! What was judged before can be another's when it is made or closed: whoever may write in the
//! sticky directory above makes it first, and whoever may write in it leaves a file. So everything
//! is judged again when nobody can change it any more, and what is closed is the directory that was
//! judged, by its descriptor.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, OFlags};

use super::{NotOurs, PathPart, Rules, open_flags, require_ours, unreadable};

/// Nobody but the owner.
const MODE: u32 = 0o700;
const ALL_BITS: u32 = 0o7777;
const PERMISSIONS: u32 = 0o777;

/// A directory cannot be made our own.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Somebody else can exchange what is in it.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Makes a directory where it is missing, with mode 0700, and takes away what others may do there.
/// Nobody but root and our own user can exchange it or a directory above it, before and after, and
/// one that others could write in is empty when it is closed.
///
/// # Errors
/// Who can, and where: such a directory is left as it is. No permission.
pub fn make_ours(path: &Path) -> Result<(), DirectoryError> {
    // Nothing is made in a directory of another.
    require_ours(path)?;
    take(path)
}

/// The part after the first judgement, which believes nothing of it.
fn take(path: &Path) -> Result<(), DirectoryError> {
    DirBuilder::new()
        .recursive(true)
        .mode(MODE)
        .create(path)
        .map_err(refused("make", path))?;
    let rules = Rules::of_process();
    let gone = || unreadable(path)(io::ErrorKind::NotFound.into());
    let found = rules.walk(path)?.ok_or_else(gone)?;
    if found.it.mode() & PERMISSIONS & !MODE == 0 {
        return Ok(());
    }
    let directory = open(&found)?;
    let path = found.path.display();
    tracing::warn!(%path, "the directory was open to others; closing it");
    set_mode(&directory, MODE, &found.path)?;
    if rules.lets_others_write(&found) && !is_empty(&directory) {
        // Closed it would pass the next time, with what another left there.
        set_mode(&directory, found.it.mode() & ALL_BITS, &found.path)?;
        return Err(NotOurs::Writable { path: found.path }.into());
    }
    Ok(())
}

/// The directory that was judged, and no other.
fn open(found: &PathPart) -> Result<File, DirectoryError> {
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(open_flags(OFlags::DIRECTORY | OFlags::NOFOLLOW))
        .open(&found.path)
        .map_err(refused("open", &found.path))?;
    let it = directory
        .metadata()
        .map_err(refused("inspect", &found.path))?;
    if (it.dev(), it.ino()) != (found.it.dev(), found.it.ino()) {
        let replaced = io::Error::other("it was replaced while it was looked at");
        return Err(unreadable(&found.path)(replaced).into());
    }
    Ok(directory)
}

fn set_mode(directory: &File, mode: u32, path: &Path) -> Result<(), DirectoryError> {
    let mode = Permissions::from_mode(mode);
    directory
        .set_permissions(mode)
        .map_err(refused("protect", path))
}

fn is_empty(directory: &File) -> bool {
    let is_own = |name: &[u8]| name == b"." || name == b"..";
    Dir::read_from(directory).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| is_own(entry.file_name().to_bytes())))
    })
}

fn refused(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests;
