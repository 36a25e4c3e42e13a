//! A real mount whose server never answers, in a mount namespace of its own.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::attest::program::lookup::LOOKUP_DEADLINE;
use crate::local_api::harness::{BOUND, within};

/// Set in the process that runs where the mount is dead: the pid of the caller, and its executable.
const CALLER: &str = "COUNTERSIGN_TEST_CALLER";
const EXECUTABLE: &str = "COUNTERSIGN_TEST_EXECUTABLE";
const NAME: &str = "attest::caller::tests::dead_mount::dead_mount_holds_up_its_callers_alone";

/// Mounts a FUSE over the folder whose server is nobody, then becomes this test again.
const SCRIPT: &str = "import ctypes, os, sys
fuse = os.open('/dev/fuse', os.O_RDWR)
os.set_inheritable(fuse, True)
options = f'fd={fuse},rootmode=40000,user_id=0,group_id=0'.encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b'dead', sys.argv[1].encode(), b'fuse', 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
";

#[tokio::test]
async fn dead_mount_holds_up_its_callers_alone() {
    if let Ok(pid) = std::env::var(CALLER) {
        return meet_a_stuck_caller(pid.parse().unwrap()).await;
    }
    let installed = Installed::new();
    let running = Running::program(&installed.path).await;
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "python3", "-c", SCRIPT])
        .arg(installed.path.parent().unwrap())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(CALLER, running.0.id().to_string())
        .env(EXECUTABLE, &installed.path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut inside = forks::spawn(&mut inside).unwrap();
    let waiting = async {
        loop {
            match inside.try_wait().unwrap() {
                Some(_) => return,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let is_late = timeout(BOUND, waiting).await.is_err();
    let _ = inside.kill();
    let inside = inside.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&inside.stdout);
    assert!(!is_late, "attestation waits for the dead mount: {said}");
    assert!(
        inside.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

/// The file of the caller is where nobody answers, that of this process is not.
async fn meet_a_stuck_caller(pid: u32) {
    let path = PathBuf::from(std::env::var(EXECUTABLE).unwrap());
    let snapshot = snapshot(&[by_path(&path), own_path()]);
    let programs = Arc::default();
    assert!(LOOKUP_DEADLINE < BOUND);
    let mut stuck = pin!(Caller::attest(peer(pid), &snapshot, &programs));
    let other = Caller::attest(peer(std::process::id()), &snapshot, &programs);
    tokio::select! {
        biased;
        stuck = &mut stuck => panic!("nobody answers, and yet {:?}", stuck.told),
        other = within(other) => assert!(other.has_identity()),
    }
    let stuck = within(stuck).await;
    assert!(!stuck.has_identity() && stuck.is_in_doubt());
    let told = stuck.told.unwrap();
    assert!(told.contains("does not answer"), "{told}");
}
