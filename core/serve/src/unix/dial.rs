//! The client's side of a socket that only root and the server's own user may use: the server is
//! as much in doubt as the caller.

use std::io;
use std::path::Path;

use tokio::net::UnixStream;

use super::UnixPeer;
use crate::ownership::{NotOurs, require_given_to};

/// Who listens is not who should. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("uid {uid} answers on this socket, which is neither root nor this user, and {why}")]
pub struct Squatter {
    /// Whose process listens.
    pub uid: u32,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("root alone may ask another user's server")]
    NotRoot,
    #[error("its path was not given to that user: {0}")]
    NotGiven(NotOurs),
}

/// Connects, and makes sure whose server it is before a byte is sent: root's, our own user's, or,
/// for root, that of a user whom root gave the directory of the socket.
///
/// # Errors
/// The kernel's; with [`Squatter`] inside where somebody else listens.
pub async fn dial(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket).await?;
    // Of a socket that was connected, the kernel tells who listened.
    let server = UnixPeer::of(&stream)?;
    let own = rustix::process::geteuid().as_raw();
    judge(server.uid, own, socket)
        .map_err(|squatter| io::Error::new(io::ErrorKind::PermissionDenied, squatter))?;
    Ok(stream)
}

fn judge(uid: u32, own: u32, socket: &Path) -> Result<(), Squatter> {
    let squats = |why| Squatter { uid, why };
    match (uid, own) {
        (0, _) => Ok(()),
        _ if uid == own => Ok(()),
        (_, 0) => require_given_to(uid, socket).map_err(|error| squats(Why::NotGiven(error))),
        _ => Err(squats(Why::NotRoot)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    const STRANGER: u32 = 54_321;

    /// A server of another uid in `directory`, which belongs to it; what it received at the end.
    async fn dial_a_strangers(directory: &Path) -> (io::Result<()>, String) {
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
        let dialled = dial(&socket).await.map(drop);
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
        let (dialled, received) = dial_a_strangers(&shared.join("cp")).await;
        let error = dialled.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("uid 54321 answers"), "{error}");
        assert_eq!(received, "b''");
    }

    #[tokio::test]
    async fn root_reaches_the_server_of_a_service_user() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let (dialled, _) = dial_a_strangers(&folder.path().join("cp")).await;
        dialled.unwrap();
    }

    #[test]
    fn only_root_asks_the_server_of_another() {
        let socket = Path::new("/run/nowhere/admin.sock");
        judge(0, 1_000, socket).unwrap();
        judge(1_000, 1_000, socket).unwrap();
        judge(1_000, 0, socket).unwrap();
        judge(1_001, 1_000, socket).unwrap_err();
    }
}
