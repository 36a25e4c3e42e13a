//! Disks that fail under a running control plane: nothing is signed that is not durable, nothing
//! acknowledged is lost, and an fsync that failed is never trusted again.

use std::process::{Command as Blocking, Stdio};

use countersign_proto::admin as wire;
use rcgen::KeyPair;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::{Code, Status};

use crate::daemon::{Daemon, Operator};
use crate::failures::Disk;
use crate::harness::*;
use crate::ledger;

/// So many writes are refused before room is made: one does not show what the first left behind.
const REFUSED_WRITES: usize = 8;

/// Each start logs a certificate of half a kilobyte at least.
const STARTS_OF_A_PAGE: usize = 16;

/// Has every call of these names fail in a process, or wait, until it is dropped.
pub(crate) struct Fault(Child);

impl Fault {
    async fn inject(calls: &str, error: &str, pid: u32) -> Self {
        Self::with(calls, &format!("error={error}"), pid).await
    }

    /// With another effect than an error, as strace names it.
    pub(crate) async fn with(calls: &str, effect: &str, pid: u32) -> Self {
        let mut child = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e"])
            .arg(format!("trace={calls}"))
            .arg("-e")
            .arg(format!("inject={calls}:{effect}"))
            .args(["-p", &pid.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("strace is installed (tests/setup.sh)");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let attached = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("attached") {
                    return;
                }
            }
            panic!("strace could not attach: run the tests as root with CAP_SYS_PTRACE");
        };
        tokio::time::timeout(BOUND, attached).await.unwrap();
        // It goes on to say what it does, and must not block on that.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self(child)
    }

    /// The disk is sound again.
    pub(crate) async fn end(mut self) {
        self.0.kill().await.unwrap();
    }
}

pub(crate) async fn register(operator: &Operator, id: &str) -> Result<String, Status> {
    let registration = wire::Registration {
        id: id.to_owned(),
        node: NODE_A.to_owned(),
        selectors: vec!["unix:uid:1000".to_owned()],
        owner: "me".to_owned(),
        ..wire::Registration::default()
    };
    let request = wire::RegisterRequest::whole(registration);
    let answer = operator.admin.clone().register(request).await?;
    Ok(answer.into_inner().registration.unwrap().entitlement)
}

/// Why nothing can be signed, as `countersign status` tells it.
pub(crate) async fn obstacles(operator: &Operator) -> Vec<String> {
    status_of(&operator.admin).await.unwrap().obstacles
}

pub(crate) async fn list(operator: &Operator) -> Vec<String> {
    let items = listed(&operator.admin).await.unwrap();
    items.into_iter().map(|item| item.id).collect()
}

pub(crate) async fn token(operator: &Operator) -> Result<String, Status> {
    let request = wire::CreateTokenRequest {
        node: NODE_A.to_owned(),
        ttl: Some(countersign_proto::convert::time::duration(BOUND)),
    };
    let made = operator.admin.clone().create_token(request).await?;
    Ok(made.into_inner().token)
}

/// Certificates that were ever issued.
async fn issued(operator: &Operator) -> u64 {
    status_of(&operator.admin).await.unwrap().svids_issued
}

pub(crate) async fn attested(operator: &Operator) -> Node {
    let token = token(operator).await.unwrap();
    let key = KeyPair::generate().unwrap();
    let session = dial(operator.api, &operator.bundle, None).await.unwrap();
    let chain = session.attest(&token, &key, "node").await.unwrap().chain;
    Node { chain, key }
}

pub(crate) async fn session(operator: &Operator, node: &Node) -> Session {
    let identity = Some((node.chain.as_slice(), &node.key));
    dial(operator.api, &operator.bundle, identity)
        .await
        .unwrap()
}

pub(crate) async fn enrol(session: &Session, entitlement: &str) -> Result<Vec<u8>, Status> {
    let key = KeyPair::generate().unwrap();
    Ok(session.enrol(entitlement, &key).await?.serial)
}

/// Every write and every signature is refused as unavailable.
async fn nothing_is_done(operator: &Operator, session: &Session, entitlement: &str) {
    let before = issued(operator).await;
    let refused = enrol(session, entitlement).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let refused = register(operator, &format!("{WEB}-more"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let refused = token(operator).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(issued(operator).await, before, "something was signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_stops_the_writer_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("cp");
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let operator = daemon.start().await;
    let node = attested(&operator).await;
    let entitlement = register(&operator, WEB).await.unwrap();
    let calls = session(&operator, &node).await;
    let mut seen = vec![enrol(&calls, &entitlement).await.unwrap()];

    let fault = Fault::inject("fsync,fdatasync", "EIO", daemon.pid()).await;
    nothing_is_done(&operator, &calls, &entitlement).await;
    fault.end().await;
    // A disk that seems sound again is not believed.
    for _ in 0..3 {
        nothing_is_done(&operator, &calls, &entitlement).await;
    }
    let told = obstacles(&operator).await.join("; ");
    let is_final = [
        "restart once the disk is sound",
        "restart once its cause is mended",
    ];
    assert!(is_final.iter().any(|end| told.contains(end)), "{told}");
    // What is held is served all the same.
    calls.discover(hello()).await.unwrap();

    daemon.kill().await;
    let operator = daemon.start().await;
    let known = list(&operator).await;
    assert!(known.contains(&WEB.to_owned()), "{known:?}");
    let calls = session(&operator, &node).await;
    seen.push(enrol(&calls, &entitlement).await.unwrap());
    register(&operator, &format!("{WEB}-more")).await.unwrap();
    daemon.kill().await;
    let logged = ledger::certificates(&ledger::entries(&data_dir));
    for serial in seen {
        let found = logged
            .values()
            .any(|logged| logged.as_bytes()[..] == serial[..]);
        assert!(found, "not in the log");
    }
}

/// The database is sound, and so is the disk in the end.
#[tokio::test(flavor = "multi_thread")]
async fn log_that_stopped_is_not_said_to_have_room() {
    const LOOKS: usize = 3;
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::configure(folder.path(), &folder.path().join("cp"), "");
    let operator = daemon.start().await;
    let node = attested(&operator).await;
    let entitlement = register(&operator, WEB).await.unwrap();
    let calls = session(&operator, &node).await;
    let fault = Fault::inject("fsync,fdatasync", "EIO", daemon.pid()).await;
    enrol(&calls, &entitlement).await.unwrap_err();
    fault.end().await;
    // A checkpoint is tried as often as the disk is.
    let looks = |log: &str| log.matches("issuance log not kept").count();
    let before = looks(&daemon.log());
    until(async || looks(&daemon.log()) >= before + LOOKS).await;
    let told = obstacles(&operator).await.join("; ");
    assert!(
        told.contains("entries of the issuance log refused"),
        "{told}"
    );
    daemon.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_turns_read_only_signs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("cp");
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let operator = daemon.start().await;
    let node = attested(&operator).await;
    let entitlement = register(&operator, WEB).await.unwrap();
    let calls = session(&operator, &node).await;
    enrol(&calls, &entitlement).await.unwrap();
    let writes = "openat,ftruncate,fallocate,pwrite64,pwritev,renameat,rename,unlink";
    let fault = Fault::inject(writes, "EROFS", daemon.pid()).await;
    nothing_is_done(&operator, &calls, &entitlement).await;
    fault.end().await;
    daemon.kill().await;
    let operator = daemon.start().await;
    assert_eq!(list(&operator).await, [WEB]);
    let calls = session(&operator, &node).await;
    enrol(&calls, &entitlement).await.unwrap();
    daemon.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_with_room_again_is_used_without_a_restart() {
    let disk = Disk::of("8m");
    let mut plane = Plane::in_dir(&disk.0.path().join("cp")).await;
    let node = plane.node(NODE_A).await;
    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let calls = node.dial(&plane).await;
    let ballast = disk.fill();
    until(async || {
        let refused = enrol(&calls, entitlement).await.err();
        refused.is_some_and(|status| status.code() == Code::Unavailable)
    })
    .await;

    std::fs::remove_file(ballast).unwrap();
    until(async || enrol(&calls, entitlement).await.is_ok()).await;
    until(async || {
        let line =
            format!("register --id {WEB}-more --node {NODE_A} --selector unix:uid:1 --owner me");
        plane.cli(&line).await.status.success()
    })
    .await;
    plane.stop().await;
}

/// A write that the database refuses itself, and not the log before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_takes_writes_without_a_restart() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Disk::of("8m"));
    let data_dir = disk.0.path().join("cp");
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let operator = daemon.start().await;
    let node = attested(&operator).await;
    let entitlement = register(&operator, WEB).await.unwrap();
    let calls = session(&operator, &node).await;
    let ballast = disk.fill();
    let mut kept = 1;
    let mut refused = Vec::new();
    // What the journals have reserved already may still take a few.
    while refused.len() < REFUSED_WRITES {
        match register(&operator, &format!("{WEB}-{kept}")).await {
            Ok(_) => kept += 1,
            Err(status) => refused.push(status),
        }
        refused.extend(token(&operator).await.err());
        assert!(kept < 2_000, "the disk is full");
    }
    for status in &refused {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(!status.message().contains("transaction"), "{status}");
    }
    let told = refused.iter().map(Status::message).collect::<String>();
    assert!(told.contains("database or disk is full"), "{told}");
    let obstacle = obstacles(&operator).await.join("; ");
    assert!(
        obstacle.contains("state.db") && obstacle.contains("since 2"),
        "{obstacle}"
    );

    // Room is noticed though nobody asks for a write.
    std::fs::remove_file(ballast).unwrap();
    until(async || obstacles(&operator).await.is_empty()).await;
    register(&operator, &format!("{WEB}-more")).await.unwrap();
    token(&operator).await.unwrap();
    enrol(&calls, &entitlement).await.unwrap();
    let known = list(&operator).await;
    assert_eq!(known.len(), kept + 1, "what was refused is not there");
    daemon.kill().await;
    let operator = daemon.start().await;
    assert_eq!(list(&operator).await, known);
    daemon.kill().await;
}

/// A write beyond a quota is an error of its own for the database, and no broken disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_ends_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("cp");
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let operator = daemon.start().await;
    register(&operator, WEB).await.unwrap();
    let fault = Fault::inject("pwrite64,pwritev,fallocate", "EDQUOT", daemon.pid()).await;
    for _ in 0..REFUSED_WRITES {
        let refused = token(&operator).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        let refused = register(&operator, &format!("{WEB}-more")).await;
        assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
    }
    let told = obstacles(&operator).await.join("; ");
    assert!(
        told.contains("state.db") && !told.contains("restart"),
        "{told}"
    );
    fault.end().await;
    until(async || obstacles(&operator).await.is_empty()).await;
    token(&operator).await.unwrap();
    register(&operator, &format!("{WEB}-more")).await.unwrap();
    daemon.kill().await;
    let operator = daemon.start().await;
    assert_eq!(list(&operator).await.len(), 2);
    daemon.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_data_dir_is_named_and_unharmed() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Disk::of("8m"));
    let data_dir = disk.0.path().join("cp");
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let operator = daemon.start().await;
    register(&operator, WEB).await.unwrap();
    daemon.kill().await;
    remount(&disk, "ro");
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-control-plane"))
        .args(["--json", "run", "--config"])
        .arg(folder.path().join("control-plane.toml"))
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("data_dir_unusable") && told.contains("ead-only"),
        "{told}"
    );
    remount(&disk, "rw");
    let operator = daemon.start().await;
    assert_eq!(list(&operator).await, [WEB]);
    daemon.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_no_start() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Disk::of("8m"));
    let data_dir = disk.0.path().join("cp");
    let mut daemon = Daemon::configure(folder.path(), &data_dir, "");
    let operator = daemon.start().await;
    let node = attested(&operator).await;
    let entitlement = register(&operator, WEB).await.unwrap();
    daemon.kill().await;
    let ballast = disk.fill();
    // The last page of the log has room for what a few starts need, and then for nothing.
    let mut operator = daemon.start().await;
    for _ in 0..STARTS_OF_A_PAGE {
        if !obstacles(&operator).await.is_empty() {
            break;
        }
        daemon.kill().await;
        operator = daemon.start().await;
    }
    let told = obstacles(&operator).await.join("; ");
    assert!(
        told.contains("issuance log") && told.contains("No space"),
        "{told}"
    );
    assert_eq!(list(&operator).await, [WEB]);
    std::fs::remove_file(ballast).unwrap();
    until(async || dial(operator.api, &operator.bundle, None).await.is_ok()).await;
    assert_eq!(obstacles(&operator).await, Vec::<String>::new());
    let calls = session(&operator, &node).await;
    enrol(&calls, &entitlement).await.unwrap();
    daemon.kill().await;
}

fn remount(disk: &Disk, how: &str) {
    let mut mount = Blocking::new("mount");
    mount
        .args(["-o", &format!("remount,{how}")])
        .arg(disk.0.path());
    assert!(mount.status().unwrap().success());
}
