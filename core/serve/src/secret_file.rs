//! A file with a secret in it, which nobody but its owner may open.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Whoever is not the owner may do nothing with the file.
const OTHERS: u32 = 0o077;
const MODE: u32 = 0o600;
/// Names that are tried beside a file that is written.
const MAX_ATTEMPTS: u32 = 16;

/// Why a secret is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretFileError {
    /// The kernel refused, or it is no text.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Others may read or write it.
    #[error("is open to others: chmod 600 it")]
    Open,
    /// Somebody else owns it, and so can change it.
    #[error("belongs to uid {0}: chown it to root or to the user of this process")]
    Foreign(u32),
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// More than the caller can use.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
}

/// The text of a file of ours or root's that nobody else may open, of at most `most` bytes. What
/// was opened is judged, so that nothing can be put in its place in between.
///
/// # Errors
/// See [`SecretFileError`].
pub fn read(path: &Path, most: usize) -> Result<Zeroizing<String>, SecretFileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.mode() & OTHERS != 0 {
        return Err(SecretFileError::Open);
    }
    let owner = metadata.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(SecretFileError::Foreign(owner));
    }
    let mut text = Zeroizing::new(String::with_capacity(most + 1));
    if file.take(most as u64 + 1).read_to_string(&mut text)? > most {
        return Err(SecretFileError::TooLong(most));
    }
    Ok(text)
}

/// Whether [`write()`] may put a file here.
///
/// # Errors
/// Something stands here that is no regular file.
pub fn require_writable(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(it) if it.is_file() => Ok(()),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is there and no regular file",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes a secret so that its file is there whole or not at all, also after the power was cut, 0600 from
/// its first byte. A regular file is replaced, with whatever mode and owner it had; anything else is not.
///
/// # Errors
/// The kernel's; what stood here still does, but where the folder alone is not on the disk yet.
pub fn write(path: &Path, secret: &str) -> io::Result<()> {
    require_writable(path)?;
    let (beside, mut file) = create_beside(path)?;
    let placed = file
        .write_all(secret.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| File::open(folder_of(path))?.sync_all());
    if placed.is_err() {
        // Half a secret is left behind where even this fails; nobody else can read it.
        let _ = fs::remove_file(&beside);
    }
    placed
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    for attempt in 0..MAX_ATTEMPTS {
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}-{attempt}", std::process::id()));
        let beside = path.with_file_name(beside);
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&beside);
        match made {
            Ok(file) => return Ok((beside, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_secret_is_written_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "one").unwrap();
        assert_eq!(mode(&path), 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        write(&path, "two").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(*read(&path, 3).unwrap(), "two");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing beside it"
        );
    }

    #[test]
    fn only_a_regular_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "kept").unwrap();
        let link = folder.path().join("link");
        symlink(&target, &link).unwrap();
        for path in [&link, folder.path(), Path::new("/dev/null"), Path::new("/")] {
            write(path, "secret").unwrap_err();
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
    }

    #[test]
    fn a_file_that_others_can_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "secret").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(read(&path, 64), Err(SecretFileError::Open)),
                "{mode:o}"
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        read(&path, 64).unwrap();
        chown(&path, Some(54_321), None).unwrap();
        assert!(matches!(
            read(&path, 64),
            Err(SecretFileError::Foreign(54_321))
        ));
    }

    #[test]
    fn a_secret_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write(&path, "secret").unwrap();
        read(&path, 6).unwrap();
        assert!(matches!(read(&path, 5), Err(SecretFileError::TooLong(5))));
    }
}
