use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Mode;
use rustix::process::umask;

use super::*;
use crate::testing::{is_child, run_as_child, soon};

const MODES: SocketModes = SocketModes {
    socket: 0o600,
    directory: 0o700,
};

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn stale(path: &Path) {
    drop(StdListener::bind(path).unwrap());
    assert!(path.exists());
}

#[tokio::test]
async fn stale_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    stale(&path);
    let mut listener = bind_unix(&path, MODES, "admin.socket").unwrap();
    let client = tokio::net::UnixStream::connect(&path).await.unwrap();
    soon(listener.accept()).await;
    drop(client);
}

#[tokio::test]
async fn live_socket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let mut listener = bind_unix(&path, MODES, "admin.socket").unwrap();
    let error = bind_unix(&path, MODES, "workload_api.socket").unwrap_err();
    assert_eq!(error.setting, "workload_api.socket");
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains("a.sock"), "{error}");
    // The one that was there still serves.
    let _client = tokio::net::UnixStream::connect(&path).await.unwrap();
    soon(listener.accept()).await;
}

/// A listener that is stuck, its backlog full, is alive and does not hold us up.
#[tokio::test]
async fn stuck_listener_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let stuck = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    stuck.bind(&SockAddr::unix(&path).unwrap()).unwrap();
    stuck.listen(0).unwrap();
    let mut waiting = Vec::new();
    let full = loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        match socket.connect(&SockAddr::unix(&path).unwrap()) {
            Ok(()) => waiting.push(socket),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let runtime = tokio::runtime::Handle::current();
    let binding = tokio::task::spawn_blocking(move || {
        let _context = runtime.enter();
        bind_unix(&path, MODES, "admin.socket").unwrap_err()
    });
    let error = soon(binding).await.unwrap();
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn other_files_are_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    let inner = folder.path().join("folder");
    fs::create_dir(&inner).unwrap();
    let socket = folder.path().join("stale");
    stale(&socket);
    let link = folder.path().join("link");
    symlink(&socket, &link).unwrap();
    let dangling = folder.path().join("dangling");
    symlink("/nonexistent/x", &dangling).unwrap();
    for path in [&file, &link, &dangling, &inner] {
        let error = bind_unix(path, MODES, "admin.socket").unwrap_err();
        assert_eq!(
            error.source.kind(),
            io::ErrorKind::AlreadyExists,
            "{path:?}"
        );
        let said = error.to_string();
        assert!(said.contains(", not a socket"), "{said}");
        assert!(
            error.remedy().contains("admin.socket"),
            "{}",
            error.remedy()
        );
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[tokio::test]
async fn modes_are_exact_under_any_umask() {
    if !is_child() {
        return run_as_child("unix::bind::tests::modes_are_exact_under_any_umask");
    }
    for mask in [0o000, 0o022, 0o077, 0o277] {
        for (socket, directory) in [(0o600, 0o700), (0o666, 0o755), (0o660, 0o750)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("made/deeper/a.sock");
            umask(Mode::from_raw_mode(mask));
            let modes = SocketModes { socket, directory };
            let bound = bind_unix(&path, modes, "workload_api.socket").unwrap();
            umask(Mode::from_raw_mode(0o022));
            assert_eq!(mode_of(&path), socket);
            for made in ["made", "made/deeper"] {
                let made = folder.path().join(made);
                assert_eq!(mode_of(&made), directory, "umask {mask:o}, {made:?}");
            }
            drop(bound);
        }
    }
}

#[tokio::test]
async fn existing_directory_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o750)).unwrap();
    let _listener = bind_unix(&folder.path().join("a.sock"), MODES, "admin.socket").unwrap();
    assert_eq!(mode_of(folder.path()), 0o750);
}

/// A watcher that looks all the time, under a umask that takes nothing away.
#[tokio::test]
async fn socket_never_shows_another_mode() {
    if !is_child() {
        return run_as_child("unix::bind::tests::socket_never_shows_another_mode");
    }
    umask(Mode::empty());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            // One look comes after the end, however late this thread runs.
            loop {
                let is_done = done.load(Ordering::Relaxed);
                let metadata = fs::symlink_metadata(&path);
                seen.extend(metadata.map(|metadata| metadata.permissions().mode() & 0o7777));
                if is_done {
                    return seen;
                }
            }
        });
        for _ in 0..500 {
            drop(bind_unix(&path, MODES, "admin.socket").unwrap());
        }
        // One stays, so there is one to be seen.
        let _last = bind_unix(&path, MODES, "admin.socket").unwrap();
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert_eq!(seen, BTreeSet::from([0o600]));
}

#[tokio::test]
async fn longest_path_is_bound() {
    const MAX_PATH: usize = 107; // unix(7), less the final NUL
    let folder = tempfile::tempdir().unwrap();
    let room = MAX_PATH - folder.path().as_os_str().len() - 1;
    let path = folder.path().join("s".repeat(room));
    let _listener = bind_unix(&path, MODES, "admin.socket").unwrap();
    tokio::net::UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn nothing_else_can_be_entered_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let _listener = bind_unix(&path, MODES, "admin.socket").unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".a.sock.lock", "a.sock"]);
    assert_eq!(mode_of(&folder.path().join(".a.sock.lock")), 0o600);
}

/// As many threads as can be bind at the same moment; who won.
fn winners_of_a_race(path: &Path) -> Vec<UnixSocket> {
    const BINDERS: usize = 8;
    let start = Barrier::new(BINDERS);
    let runtime = tokio::runtime::Handle::current();
    let bound: Vec<_> = std::thread::scope(|scope| {
        let bind = || {
            let _context = runtime.enter();
            start.wait();
            bind_unix(path, MODES, "admin.socket")
        };
        let threads: Vec<_> = (0..BINDERS).map(|_| scope.spawn(bind)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    bound.into_iter().filter_map(Result::ok).collect()
}

#[tokio::test]
async fn one_of_many_binders_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    for _ in 0..20 {
        stale(&path);
        // A child that another test begins in this process has our lock until it is its own program:
        // then nobody wins, and the race is run again.
        let races = (0..1_000).map(|_| winners_of_a_race(&path));
        let mut winners = races
            .into_iter()
            .find(|winners| !winners.is_empty())
            .unwrap();
        assert_eq!(winners.len(), 1);
        let _client = tokio::net::UnixStream::connect(&path).await.unwrap();
        soon(winners[0].accept()).await;
        drop(winners);
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn unwritable_place_is_an_error() {
    let error = bind_unix(Path::new("/proc/nowhere/a.sock"), MODES, "admin.socket").unwrap_err();
    assert_eq!(error.address, "/proc/nowhere/a.sock");
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("x".repeat(107));
    assert!(bind_unix(&long, MODES, "admin.socket").is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
