use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::super::{SocketModes, bind_unix};
use super::*;
use crate::testing::{eventually, soon};

const MODES: SocketModes = SocketModes {
    socket: 0o600,
    directory: 0o700,
};

/// A socket whose every connection is echoed.
struct Echo {
    path: PathBuf,
    folder: tempfile::TempDir,
    _task: AbortOnDropHandle<()>,
}

impl Echo {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/a.sock");
        let mut socket = bind_unix(&path, MODES, "test").unwrap();
        let task = tokio::spawn(async move {
            loop {
                let mut stream = UnixStream::from_std(socket.accept().await).unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        Self {
            path,
            folder,
            _task: AbortOnDropHandle::new(task),
        }
    }

    async fn answers(&self) {
        soon(async {
            let mut stream = loop {
                match UnixStream::connect(&self.path).await {
                    Ok(stream) => break stream,
                    Err(_) => tokio::time::sleep(SOCKET_LOOK_INTERVAL / 20).await,
                }
            };
            echoes(&mut stream).await;
        })
        .await;
    }
}

async fn echoes(stream: &mut UnixStream) {
    stream.write_all(b"x").await.unwrap();
    assert_eq!(soon(stream.read_u8()).await.unwrap(), b'x');
}

#[tokio::test]
async fn removed_socket_comes_back_and_cuts_nobody() {
    let echo = Echo::start();
    let mut open = UnixStream::connect(&echo.path).await.unwrap();
    echoes(&mut open).await;
    fs::remove_file(&echo.path).unwrap();
    echo.answers().await;
    echoes(&mut open).await;
    let mode = fs::metadata(&echo.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    // And once more.
    fs::remove_file(&echo.path).unwrap();
    echo.answers().await;
}

#[tokio::test]
async fn removed_folder_comes_back() {
    let echo = Echo::start();
    fs::remove_dir_all(echo.path.parent().unwrap()).unwrap();
    echo.answers().await;
    // The lock is the new one: a second process is still kept out.
    let error = bind_unix(&echo.path, MODES, "test").unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn stale_socket_in_its_place_is_replaced() {
    let echo = Echo::start();
    fs::remove_file(&echo.path).unwrap();
    drop(StdListener::bind(&echo.path).unwrap());
    echo.answers().await;
}

/// What is alive is never taken; when it is gone, the place is ours again.
#[tokio::test]
async fn live_socket_in_its_place_is_left_alone() {
    let echo = Echo::start();
    fs::remove_file(&echo.path).unwrap();
    let other = UnixListener::bind(&echo.path).unwrap();
    soon(other.accept()).await.unwrap(); // whoever looks whether it is alive
    assert!(echo.path.exists());
    drop(other);
    echo.answers().await;
}

#[tokio::test]
async fn other_file_in_its_place_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let mut socket = bind_unix(&path, MODES, "test").unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    socket.keep();
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    socket.keep();
    UnixStream::connect(&path).await.unwrap();
}

/// Who connected before the file vanished is accepted after.
#[tokio::test]
async fn waiting_connection_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let mut socket = bind_unix(&path, MODES, "test").unwrap();
    let mut waiting = UnixStream::connect(&path).await.unwrap();
    fs::remove_file(&path).unwrap();
    socket.keep();
    let mut late = UnixStream::connect(&path).await.unwrap();
    for client in [&mut waiting, &mut late] {
        let accepted = soon(socket.accept()).await;
        let mut accepted = UnixStream::from_std(accepted).unwrap();
        client.write_all(b"x").await.unwrap();
        assert_eq!(soon(accepted.read_u8()).await.unwrap(), b'x');
    }
}

/// As programs that clean up look for it.
#[tokio::test]
async fn kernel_names_the_final_path() {
    let echo = Echo::start();
    let link = echo.folder.path().join("link");
    std::os::unix::fs::symlink(echo.path.parent().unwrap(), &link).unwrap();
    let _linked = bind_unix(&link.join("b.sock"), MODES, "test").unwrap();
    let named = |path: &Path| {
        let name = fs::canonicalize(path).unwrap();
        let live = fs::read_to_string("/proc/net/unix").unwrap();
        live.lines()
            .any(|line| line.ends_with(name.to_str().unwrap()))
    };
    assert!(named(&echo.path) && named(&link.join("b.sock")));
    fs::remove_file(&echo.path).unwrap();
    eventually(|| echo.path.exists()).await;
    assert!(named(&echo.path));
}

#[tokio::test]
async fn dropped_socket_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    drop(bind_unix(&path, MODES, "test").unwrap());
    assert!(!path.exists());
    let socket = bind_unix(&path, MODES, "test").unwrap();
    fs::remove_file(&path).unwrap();
    let other = StdListener::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists(), "it was another's");
    drop(other);
}
