use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

mod dead_mount;

use super::*;
use crate::forks;
use crate::holdings::Holdings;
use crate::local_api::harness::{entitlement, ours, own_uid, theirs, until};

fn snapshot(selectors: &[SelectorSet]) -> Arc<Snapshot> {
    let holdings = Holdings::new();
    for (age, selectors) in (1..).zip(selectors) {
        let entitlement = Arc::new(entitlement("/web", selectors.clone(), age));
        let held = Held {
            entitlement: entitlement.clone(),
            svid: None,
            problem: None,
        };
        holdings.publish(|snapshot| {
            Arc::make_mut(&mut snapshot.entries).insert(entitlement.id.clone(), held);
        });
    }
    holdings.load()
}

fn peer(pid: u32) -> LocalPeer {
    LocalPeer::now(UnixPeer {
        uid: own_uid(),
        gid: rustix::process::getegid().as_raw(),
        pid: Some(pid),
    })
}

fn own_path() -> SelectorSet {
    by_path(&std::env::current_exe().unwrap())
}

fn by_path(path: &Path) -> SelectorSet {
    let path = Selector::UnixPath(path.to_str().unwrap().to_owned());
    SelectorSet::new([path, Selector::UnixUid(own_uid())]).unwrap()
}

/// It can be run at once.
fn copy_program(to: &Path) {
    let _none = forks::none();
    std::fs::copy("/bin/sleep", to).unwrap();
}

/// A program of its own in a folder of its own, and what a registration of its path gives.
struct Installed {
    folder: tempfile::TempDir,
    path: PathBuf,
    snapshot: Arc<Snapshot>,
}

impl Installed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(folder.path())
            .unwrap()
            .join("program");
        copy_program(&path);
        let snapshot = snapshot(&[by_path(&path)]);
        Self {
            folder,
            path,
            snapshot,
        }
    }

    /// As a package manager does it.
    fn upgrade(&self) {
        let new = self.folder.path().join("new");
        copy_program(&new);
        std::fs::rename(&new, &self.path).unwrap();
    }

    async fn attest(&self, running: &Running, programs: &Arc<Programs>) -> Caller {
        Caller::attest(peer(running.0.id()), &self.snapshot, programs).await
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    /// Once it runs the program at `path`, as it calls it.
    async fn once_it_is(mut command: Command, path: &Path) -> Self {
        let running = Self(forks::spawn(command.stdin(Stdio::null())).unwrap());
        let link = format!("/proc/{}/exe", running.0.id());
        until(|| std::fs::read_link(&link).is_ok_and(|exe| exe == path)).await;
        running
    }

    async fn program(path: &Path) -> Self {
        let mut command = Command::new(path);
        command.arg("60");
        Self::once_it_is(command, path).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_replaced_executable_keeps_what_it_has() {
    let installed = Installed::new();
    let running = Running::program(&installed.path).await;
    let programs = Arc::default();
    let mut caller = installed.attest(&running, &programs).await;
    assert!(caller.has_identity());
    installed.upgrade();
    caller.attest_again(&installed.snapshot).await;
    assert!(caller.has_identity(), "its open stream");
    let mut reconnected = installed.attest(&running, &programs).await;
    assert!(reconnected.has_identity(), "its next stream");
    std::fs::remove_file(&installed.path).unwrap();
    for caller in [&mut caller, &mut reconnected] {
        caller.attest_again(&installed.snapshot).await;
        assert!(caller.has_identity(), "without any file");
    }
}

#[tokio::test]
async fn an_upgrade_admits_those_that_run_it() {
    let installed = Installed::new();
    let old = Running::program(&installed.path).await;
    installed.upgrade();
    let new = Running::program(&installed.path).await;
    let programs = Arc::default();
    assert!(installed.attest(&new, &programs).await.has_identity());
    // Nobody saw the old one while its file was there.
    assert!(!installed.attest(&old, &programs).await.has_identity());
}

#[tokio::test]
async fn another_mount_namespace_lends_no_path() {
    let installed = Installed::new();
    let other = installed.folder.path().join("other");
    copy_program(&other);
    let mut command = Command::new("unshare");
    let script = r#"mount --bind "$1" "$2" && exec "$2" 60"#;
    let arguments = ["--mount", "sh", "-c", script, "sh"];
    command.args(arguments).arg(&other).arg(&installed.path);
    let impostor = Running::once_it_is(command, &installed.path).await;
    let programs = Arc::default();
    let honest = Running::program(&installed.path).await;
    assert!(installed.attest(&honest, &programs).await.has_identity());
    assert!(!installed.attest(&impostor, &programs).await.has_identity());
}

#[tokio::test]
async fn a_pid_that_is_used_again_keeps_only_the_uid() {
    let snapshot = snapshot(&[own_path()]);
    let now = peer(std::process::id());
    assert!(
        Caller::attest(now.clone(), &snapshot, &Arc::default())
            .await
            .has_identity()
    );
    // Another process had this pid when the connection was accepted.
    let before = LocalPeer {
        process: now.process.map(|process| Process {
            started: process.started - 1,
            ..process
        }),
        ..now
    };
    assert!(
        !Caller::attest(before, &snapshot, &Arc::default())
            .await
            .has_identity()
    );
}

#[tokio::test]
async fn only_all_selectors_admit() {
    let snapshot = snapshot(&[ours(), theirs()]);
    let caller = Caller::attest(peer(std::process::id()), &snapshot, &Arc::default()).await;
    assert_eq!(caller.admitted(&snapshot).len(), 1);
}

#[tokio::test]
async fn a_caller_that_execs_another_program_loses_its_path() {
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    let snapshot = snapshot(&[by_path(&shell)]);
    let mut command = Command::new(&shell);
    command.args(["-c", "read -r go; exec sleep 60"]);
    let mut running = Running(forks::spawn(command.stdin(Stdio::piped())).unwrap());
    let mut caller = Caller::attest(peer(running.0.id()), &snapshot, &Arc::default()).await;
    let before = caller.has_identity();
    writeln!(running.0.stdin.as_mut().unwrap(), "go").unwrap();
    let link = format!("/proc/{}/exe", running.0.id());
    until(|| std::fs::read_link(&link).is_ok_and(|exe| exe != shell)).await;
    caller.attest_again(&snapshot).await;
    assert!(before && !caller.has_identity());
}

#[test]
fn new_credentials_are_no_new_rights() {
    let holdings = Holdings::new();
    let rights = holdings.load().rights;
    holdings.publish(|snapshot| snapshot.bundle = None);
    assert_eq!(holdings.load().rights, rights);
    assert_ne!(snapshot(&[ours()]).rights, rights);
}

#[test]
fn only_paths_that_would_help_are_looked_for() {
    let path = |path: &str| Selector::UnixPath(path.to_owned());
    let set = |selectors: &[Selector]| SelectorSet::new(selectors.iter().cloned()).unwrap();
    let snapshot = snapshot(&[
        set(&[path("/bin/any")]),
        set(&[path("/bin/own"), Selector::UnixUid(7)]),
        set(&[path("/bin/others"), Selector::UnixUid(8)]),
        set(&[Selector::UnixUid(7)]),
    ]);
    let ids = [Selector::UnixUid(7), Selector::UnixGid(7)];
    let paths = paths_for(&snapshot, &ids.into_iter().collect());
    assert_eq!(paths, ["/bin/any", "/bin/own"].into());
}

/// Its executable is not even looked for: most callers are registered by their uid alone.
#[tokio::test]
async fn a_path_that_helps_nobody_is_no_warning() {
    let snapshot = snapshot(&[ours()]);
    let nobody = LocalPeer {
        process: None,
        ..peer(std::process::id())
    };
    let caller = Caller::attest(nobody, &snapshot, &Arc::default()).await;
    assert!(caller.has_identity() && caller.told.is_none());
}

#[tokio::test]
async fn a_lacking_path_is_told_once() {
    let snapshot = snapshot(&[own_path()]);
    let nobody = LocalPeer {
        process: None,
        ..peer(std::process::id())
    };
    let mut caller = Caller::attest(nobody, &snapshot, &Arc::default()).await;
    let told = caller.told.clone();
    assert!(told.as_ref().is_some_and(|why| why.contains("not known")));
    caller.attest_again(&snapshot).await;
    assert_eq!(caller.told, told);
}

/// An Envoy with a thousand secrets has as many streams.
#[tokio::test]
async fn streams_of_one_connection_share_what_they_are_admitted_to() {
    let (programs, peer) = (Arc::default(), peer(std::process::id()));
    let first = snapshot(&[own_path()]);
    let one = Caller::attest(peer.clone(), &first, &programs).await;
    let mut other = Caller::attest(peer.clone(), &first, &programs).await;
    assert!(Arc::ptr_eq(&one.admitted, &other.admitted));
    assert!(other.attest_again(&snapshot(&[])).await);
    assert_eq!((one.admitted.len(), other.admitted.len()), (1, 0));
}
