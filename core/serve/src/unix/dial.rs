//! The client's side of a socket that only root and the server's own user may use: the server is
//! as much in doubt as the caller.

use std::fs::FileType;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use tokio::net::UnixStream;

use super::UnixPeer;
use crate::ownership::{NotOurs, require_given_to};

/// How far a path is trusted to lead where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Somebody named it, or it is one of the places that only root can make.
    Named,
    /// It was found in the current folder, and whoever made that folder may have put it there.
    Found,
}

/// Who listens, or who may have put the socket there, is not who should. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum Squatter {
    /// Another user's process.
    #[error("uid {uid} answers on this socket, which is neither root nor this user, and {why}")]
    Listens {
        /// Whose process listens.
        uid: u32,
        /// Why that user is not trusted.
        why: Why,
    },
    /// Another user may have put the socket there.
    #[error("it was found in the current folder, and {0}")]
    Exchangeable(NotOurs),
}

/// Why another user's server is not asked.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// Who asks is not root.
    #[error("root alone may ask another user's server")]
    RootAlone,
    /// The path is not one that root gave to that user.
    #[error("its path was not given to that user: {0}")]
    Ungiven(NotOurs),
    /// Nobody named the socket.
    #[error("nobody named the socket: it was found in the current folder")]
    Unnamed,
}

/// Its server answers other users alone, and would close the connection.
#[derive(Debug, thiserror::Error)]
#[error("root and uid {server} alone are answered here, and this is uid {own}")]
struct Unwelcome {
    server: u32,
    own: u32,
}

/// Something else than a socket is at the path.
#[derive(Debug, thiserror::Error)]
#[error("it is {0}, not a socket")]
pub struct NotASocket(&'static str);

impl NotASocket {
    /// What is there; nothing where it is a socket.
    pub(super) fn of(found: FileType) -> Option<Self> {
        let what = match found {
            found if found.is_socket() => return None,
            found if found.is_file() => "a plain file",
            found if found.is_dir() => "a folder",
            found if found.is_symlink() => "a symbolic link",
            _ => "a device or a pipe",
        };
        Some(Self(what))
    }
}

/// Connects, and makes sure whose server it is before a byte is sent: root's, our own user's, or,
/// for root, that of a user whom root gave the directory of a socket that was named.
///
/// # Errors
/// The kernel's; with [`Squatter`] inside where somebody else listens, and [`NotASocket`] where
/// nobody can. [`Obstacle`](super::Obstacle) sorts them.
pub async fn dial(socket: &Path, trust: Trust) -> io::Result<UnixStream> {
    if trust == Trust::Found {
        let own = rustix::process::geteuid().as_raw();
        require_given_to(own, socket).map_err(exchangeable)?;
    }
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| unconnected(error, socket))?;
    // Of a socket that was connected, the kernel tells who listened.
    let server = UnixPeer::of(&stream)?;
    let own = rustix::process::geteuid().as_raw();
    judge(server.uid, own, socket, trust).map_err(Squatter::refused)?;
    is_answered(server.uid, own)?;
    Ok(stream)
}

/// What may not be looked at is not said to be another's.
fn exchangeable(why: NotOurs) -> io::Error {
    match why {
        NotOurs::Unreadable { source, .. } => source,
        why => Squatter::Exchangeable(why).refused(),
    }
}

/// Root asks every server, and every other user its own.
fn is_answered(server: u32, own: u32) -> io::Result<()> {
    if own == 0 || own == server {
        return Ok(());
    }
    let unwelcome = Unwelcome { server, own };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, unwelcome))
}

impl Squatter {
    fn refused(self) -> io::Error {
        io::Error::new(io::ErrorKind::PermissionDenied, self)
    }
}

fn judge(uid: u32, own: u32, socket: &Path, trust: Trust) -> Result<(), Squatter> {
    let squats = |why| Err(Squatter::Listens { uid, why });
    if uid == 0 || uid == own {
        return Ok(());
    }
    match (own, trust) {
        (_, Trust::Found) => squats(Why::Unnamed),
        (0, Trust::Named) => require_given_to(uid, socket).or_else(|it| squats(Why::Ungiven(it))),
        (_, Trust::Named) => squats(Why::RootAlone),
    }
}

/// The kernel refuses a connection to a plain file as it refuses one to a socket on which nobody
/// listens.
fn unconnected(error: io::Error, path: &Path) -> io::Error {
    if error.kind() != io::ErrorKind::ConnectionRefused {
        return error;
    }
    let found = std::fs::metadata(path).map(|found| found.file_type());
    match found.ok().and_then(NotASocket::of) {
        Some(other) => io::Error::new(io::ErrorKind::InvalidInput, other),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::super::Obstacle;
    use super::*;

    const STRANGER: u32 = 54_321;

    /// A server of another uid in `directory`, which belongs to it; what it received at the end.
    async fn dial_a_strangers(directory: &Path, trust: Trust) -> (io::Result<()>, String) {
        fs::create_dir(directory).unwrap();
        chown(directory, Some(STRANGER), Some(STRANGER)).unwrap();
        let socket = directory.join("admin.sock");
        let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); \
                      s.listen(); print('listening', flush=True); c, _ = s.accept(); \
                      print(c.recv(64))";
        let mut server = Command::new("python3")
            .args(["-c", script])
            .arg(&socket)
            .uid(STRANGER)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(server.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        let dialled = dial(&socket, trust).await.map(drop);
        // Where nobody connected, somebody has to end its wait.
        drop(std::os::unix::net::UnixStream::connect(&socket));
        let mut received = String::new();
        said.read_to_string(&mut received).unwrap();
        server.wait().unwrap();
        (dialled, received.trim().to_owned())
    }

    #[tokio::test]
    async fn a_squatter_receives_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("tmp");
        fs::create_dir(&shared).unwrap();
        for path in [folder.path(), &shared] {
            fs::set_permissions(path, Permissions::from_mode(0o1777)).unwrap();
        }
        let (dialled, received) = dial_a_strangers(&shared.join("cp"), Trust::Named).await;
        let error = dialled.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("uid 54321 answers"), "{error}");
        assert_eq!(received, "b''");
    }

    #[tokio::test]
    async fn root_reaches_the_server_of_a_service_user() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let (dialled, _) = dial_a_strangers(&folder.path().join("cp"), Trust::Named).await;
        dialled.unwrap();
    }

    #[tokio::test]
    async fn nobody_elses_server_is_asked_where_it_was_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        // Root gave this folder to its user, as it gives everybody a home.
        let (dialled, received) = dial_a_strangers(&folder.path().join("home"), Trust::Found).await;
        let error = dialled.unwrap_err();
        assert!(error.get_ref().unwrap().is::<Squatter>(), "{error}");
        assert_eq!(received, "b''");
    }

    #[tokio::test]
    async fn own_server_is_found_where_nobody_can_exchange_it() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let _server = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        dial(&socket, Trust::Found).await.unwrap();
        // A stranger leads us to it: it is ours, and perhaps not the one that we mean.
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let link = home.join("admin.sock");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        dial(&link, Trust::Found).await.unwrap();
        chown(&home, Some(STRANGER), Some(STRANGER)).unwrap();
        let error = dial(&link, Trust::Found).await.unwrap_err();
        assert!(
            error.to_string().contains("belongs to uid 54321"),
            "{error}"
        );
        dial(&link, Trust::Named).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_socket_is_called_that() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for (path, what) in [(&*file, "a plain file"), (folder.path(), "a folder")] {
            let error = dial(path, Trust::Named).await.unwrap_err();
            assert_eq!(error.to_string(), format!("it is {what}, not a socket"));
        }
        let socket = folder.path().join("socket");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let error = dial(&socket, Trust::Named).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn server_of_root_answers_root_alone() {
        for (server, own) in [(0, 0), (1_000, 0), (1_000, 1_000)] {
            is_answered(server, own).unwrap();
        }
        let error = is_answered(0, 1_000).unwrap_err();
        assert_eq!(Obstacle::of(&error), Obstacle::Denied);
        let told = error.to_string();
        assert!(told.contains("this is uid 1000"), "{told}");
    }

    #[tokio::test]
    async fn obstacles_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let deserted = folder.path().join("deserted");
        drop(std::os::unix::net::UnixListener::bind(&deserted).unwrap());
        for (path, expected) in [
            (folder.path().join("nothing"), Obstacle::Absent),
            (deserted, Obstacle::Absent),
            (file, Obstacle::NoSocket),
            (folder.path().join("x".repeat(200)), Obstacle::NoSocket),
        ] {
            let error = dial(&path, Trust::Named).await.unwrap_err();
            assert_eq!(Obstacle::of(&error), expected, "{error}");
        }
        let denied = exchangeable(NotOurs::Unreadable {
            path: folder.path().to_owned(),
            source: io::ErrorKind::PermissionDenied.into(),
        });
        assert_eq!(Obstacle::of(&denied), Obstacle::Denied);
    }

    /// As a process that stands still: what connects waits in its queue, until that is full.
    #[tokio::test]
    async fn server_that_accepts_nothing_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let stopped = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        rustix::net::listen(&stopped, 1).unwrap();
        let mut waiting = Vec::new();
        let error = loop {
            match dial(&socket, Trust::Named).await {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 10, "the queue of a listener has a bound");
        };
        assert_eq!(Obstacle::of(&error), Obstacle::Silent, "{error}");
    }

    #[test]
    fn only_root_asks_the_server_of_another() {
        let socket = Path::new("/run/nowhere/admin.sock");
        judge(0, 1_000, socket, Trust::Named).unwrap();
        judge(1_000, 1_000, socket, Trust::Named).unwrap();
        judge(1_000, 0, socket, Trust::Named).unwrap();
        judge(1_001, 1_000, socket, Trust::Named).unwrap_err();
    }
}
