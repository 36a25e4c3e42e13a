//! Binding a socket file that nobody can reach with a wider mode than asked for.
//!
//! The socket is bound in a private directory beside its place, gets its mode there, and is then
//! renamed to its place. A lock file beside it keeps two processes that start at once from taking
//! each other's socket for a stale one.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use crate::BindError;
use crate::limits::LISTEN_BACKLOG;

/// Names tried for the private directory.
const MAX_ATTEMPTS: u32 = 64;

/// How a socket and a directory that is made for it are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketModes {
    /// Mode of the socket file.
    pub socket: u32,
    /// Mode of its directory where it has to be made.
    pub directory: u32,
}

/// Binds a socket file. A stale file is replaced only if nobody listens on it.
///
/// # Errors
/// Somebody listens, the path is no socket, or the directory cannot be written.
pub fn bind_unix(
    path: &Path,
    modes: SocketModes,
    setting: &str,
) -> Result<UnixListener, BindError> {
    bind(path, modes).map_err(|source| BindError {
        setting: setting.to_owned(),
        address: path.display().to_string(),
        source,
    })
}

fn bind(path: &Path, modes: SocketModes) -> io::Result<UnixListener> {
    // The name that it is bound under is short: the one that clients use has to fit as well.
    SocketAddr::from_pathname(path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make_directory(folder, modes.directory)?;
    let _lock = lock_beside(path, folder)?;
    require_free(path)?;
    let private = PrivateDirectory::beside(folder)?;
    let fresh = private.0.join("s");
    let listener = std::os::unix::net::UnixListener::bind(&fresh)?;
    rustix::net::listen(&listener, LISTEN_BACKLOG)?;
    fs::set_permissions(&fresh, Permissions::from_mode(modes.socket))?;
    fs::rename(&fresh, path)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Makes missing directories with exactly this mode, whatever the umask.
fn make_directory(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_directory(parent, mode)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Nothing stands here, or a socket that nobody listens on.
fn require_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path exists and is no socket",
        )),
        Ok(_) => match knock(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // Also one whose backlog is full, and a socket that cannot be asked: better refused
            // than taken from somebody.
            Ok(()) | Err(_) => Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another process listens on this socket",
            )),
        },
    }
}

/// Connects without waiting: a listener that is stuck does not hold up our start.
fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// Held while the place is looked at and taken. The file stays: removing it would let two
/// processes lock two files of one name. Only its owner can open it, so only they can hold it.
fn lock_beside(path: &Path, folder: &Path) -> io::Result<File> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(".lock");
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).expect("open flags fit");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(folder.join(name))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process is binding it at this moment",
        )),
    }
}

/// A directory of mode 0700, removed with the socket that is left in it.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    /// The name is short, so that the path of the socket in it is hardly longer than the one that
    /// was asked for (a socket's path ends at 107 bytes).
    fn beside(folder: &Path) -> io::Result<Self> {
        let first = std::process::id();
        for attempt in 0..MAX_ATTEMPTS {
            let name = format!(".{:06x}", first.wrapping_add(attempt) & 0x00ff_ffff);
            let path = folder.join(name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // What cannot be removed is an empty directory that only its owner can enter.
        let _ = fs::remove_file(self.0.join("s"));
        let _ = fs::remove_dir(&self.0);
    }
}

#[cfg(test)]
mod tests;
