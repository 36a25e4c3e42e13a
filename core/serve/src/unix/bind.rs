//! Binding a socket file that nobody can reach with a wider mode than asked for.
//!
//! The socket is bound under its final name, as programs that clean up look for names in
//! `/proc/net/unix` (systemd-tmpfiles). Nobody can connect before its mode is right: only then does it
//! listen. A lock file beside it is held for as long as it is ours, so that two processes do not
//! take each other's socket for a stale one.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock};
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use super::dial::NotASocket;
use super::kept::UnixSocket;
use crate::BindError;
use crate::limits::LISTEN_BACKLOG;

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
pub fn bind_unix(path: &Path, modes: SocketModes, setting: &str) -> Result<UnixSocket, BindError> {
    let bound = SocketAddr::from_pathname(path)
        .and_then(|_| BoundAt::take(path, modes, None))
        .and_then(|(at, listener)| Ok(UnixSocket::new(at, UnixListener::from_std(listener)?)));
    bound.map_err(|source| BindError {
        setting: setting.to_owned(),
        address: path.display().to_string(),
        source,
    })
}

/// Where a socket is bound.
#[derive(Debug)]
pub(super) struct BoundAt {
    pub(super) path: PathBuf,
    modes: SocketModes,
    /// The socket file.
    file: FileId,
    lock: Arc<Lock>,
}

impl BoundAt {
    /// Binds anew where the file vanished or was replaced.
    pub(super) fn take_again(&self) -> io::Result<(Self, StdListener)> {
        Self::take(&self.path, self.modes, Some(&self.lock))
    }

    /// Binds here, with a lock that is held already where it still is the one in the folder.
    fn take(
        path: &Path,
        modes: SocketModes,
        lock: Option<&Arc<Lock>>,
    ) -> io::Result<(Self, StdListener)> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        make_directory(folder, modes.directory)?;
        let path = final_name(path, folder);
        let lock = match lock.filter(|lock| lock.is_in_place()) {
            Some(lock) => Arc::clone(lock),
            None => Arc::new(Lock::beside(&path)?),
        };
        make_free(&path)?;
        let (listener, file) = listen(&path, modes.socket)?;
        let bound = Self {
            path,
            modes,
            file,
            lock,
        };
        Ok((bound, listener))
    }

    /// Whether the socket file is still there.
    pub(super) fn is_ours(&self) -> bool {
        FileId::at(&self.path).is_ok_and(|file| file == self.file)
    }

    /// Removes the socket file, if it is still ours.
    pub(super) fn clear(&self) {
        if self.is_ours() {
            // What stays is found stale at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The one name of a socket: absolute, without symbolic links. That of the setting where it would be
/// too long for a socket.
fn final_name(path: &Path, folder: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    let found = fs::canonicalize(folder).map(|folder| folder.join(name));
    match found {
        Ok(found) if SocketAddr::from_pathname(&found).is_ok() => found,
        _ => path.to_owned(),
    }
}

/// Binds, sets the mode, listens, in this order: until the last step every `connect` is refused. The
/// mode before is never wider, as the file takes it from the unbound socket, less the umask.
fn listen(path: &Path, mode: u32) -> io::Result<(StdListener, FileId)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    fchmod(&socket, Mode::from_raw_mode(mode))?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = set_mode(path, mode).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })?;
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

/// Sets the mode of the socket that we have just bound, and of nothing that was put in its place.
fn set_mode(path: &Path, mode: u32) -> io::Result<FileId> {
    let handle = OFlags::PATH | OFlags::NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(handle))
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.file_type().is_socket() || metadata.uid() != geteuid().as_raw() {
        return Err(io::Error::other(
            "another file took the place of the socket",
        ));
    }
    let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(opened, Permissions::from_mode(mode))?;
    Ok(FileId::of(&metadata))
}

fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("open flags fit")
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

/// Removes a socket that nobody listens on.
fn make_free(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) => match NotASocket::of(metadata.file_type()) {
            Some(other) => Err(io::Error::new(io::ErrorKind::AlreadyExists, other)),
            None => replace_stale(path),
        },
    }
}

/// Removes the file of a socket on which nobody listens.
fn replace_stale(path: &Path) -> io::Result<()> {
    match knock(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Also one whose backlog is full, and a socket that cannot be asked: better refused
        // than taken from somebody.
        Ok(()) | Err(_) => Err(in_use()),
    }
}

fn in_use() -> io::Error {
    let text = "another process listens on this socket";
    io::Error::new(io::ErrorKind::AddrInUse, text)
}

/// Connects without waiting: a listener that is stuck does not hold up our start.
fn knock(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// Held while the socket is ours. The file stays: removing it would let two processes lock two files
/// of one name. Only its owner can open it, so only they can hold it.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    held: File,
}

impl Lock {
    fn beside(path: &Path) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        name.push(".lock");
        let path = path.with_file_name(name);
        let held = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW))
            .open(&path)?;
        flock(&held, FlockOperation::NonBlockingLockExclusive).map_err(|_| in_use())?;
        Ok(Self { path, held })
    }

    /// Whether the file that we hold is the one that others would lock.
    fn is_in_place(&self) -> bool {
        let held = self.held.metadata().map(|metadata| FileId::of(&metadata));
        held.is_ok_and(|held| FileId::at(&self.path).is_ok_and(|found| found == held))
    }
}

/// Tells one file from every other. A socket that is open keeps its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    fn at(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|metadata| Self::of(&metadata))
    }
}

#[cfg(test)]
mod tests;
