//! A backup while everything runs, and what is made of it.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use countersign_model::Serial;
use countersign_proto::log::entry::What;
use rcgen::KeyPair;
use rustix::fs::{CWD, Mode};
use serde_json::Value;
use tonic::Code;

use crate::harness::*;
use crate::ledger;

/// Runs a verb that does not need a control plane, and that must succeed.
pub(crate) async fn restore(plane: &Plane, file: &Path, data_dir: &Path) -> Value {
    let (file, dir) = (file.display(), data_dir.display());
    plane
        .ask(&format!("restore --in {file} --data-dir {dir}"))
        .await
}

/// The code of a refusal.
async fn refused(plane: &Plane, file: &Path, data_dir: &Path) -> String {
    let (file, dir) = (file.display(), data_dir.display());
    let line = format!("restore --in {file} --data-dir {dir} --json");
    let output = plane.cli(&line).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    error["error"]["code"].as_str().unwrap().to_owned()
}

/// A place for a backup and for what is restored from it.
pub(crate) struct Vault(tempfile::TempDir);

impl Vault {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("backup.tar")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.0.path().join("restored")
    }

    pub(crate) async fn back_up(&self, plane: &Plane, more: &str) -> Value {
        let out = self.file();
        let line = format!("backup --out {} {more}", out.display());
        plane.ask(line.trim_end()).await
    }
}

/// Has a fresh key of the node itself certified.
pub(crate) async fn renewed(plane: &Plane, node: &Node) -> Node {
    let session = node.dial(plane).await;
    let key = KeyPair::generate().unwrap();
    let mut stream = session.discover(hello()).await.unwrap();
    session.enrol("node", &key).await.unwrap();
    let secret = countersign_envoy::SECRET_TYPE;
    stream.subscribe(secret, "node").await;
    let body = stream.present("node").await.body;
    let chain = countersign_envoy::read_certificate_chain(&body).unwrap();
    let chain = chain.iter().map(|der| der.to_vec()).collect();
    Node { chain, key }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_state_follows_the_lost_one() {
    let (mut plane, vault) = (Plane::start().await, Vault::new());
    let node = plane.node(NODE_A).await;
    let web = plane.register(WEB, NODE_A).await;
    let entitlement = web["entitlement"].as_str().unwrap();
    let unused = plane.token(NODE_B).await;
    let registered = plane.ask("list").await;
    let before = plane.ask("status").await;
    let bundle = plane.bundle().await;
    let made = vault.back_up(&plane, "").await;
    let mode = std::fs::metadata(vault.file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // What happens from here on is lost, but for what the node holds.
    let session = node.dial(&plane).await;
    let lost = KeyPair::generate().unwrap();
    let lost = session.enrol(entitlement, &lost).await.unwrap();
    let once = renewed(&plane, &node).await;
    let twice = renewed(&plane, &once).await;
    plane.register(&format!("{WEB}-late"), NODE_A).await;
    plane.stop().await;

    let restored = restore(&plane, &vault.file(), &vault.data_dir()).await;
    assert_eq!(restored["previous_log_id"], made["log_id"]);
    assert_eq!(restored["tokens_dropped"], 1);
    let entries = ledger::entries(&vault.data_dir());
    let Some(What::Restored(told)) = entries.last() else {
        panic!("{:?}", entries.last());
    };
    assert_eq!(told.backup_size + 1, entries.len() as u64);
    assert_eq!(Some(told.epoch), restored["epoch"].as_u64());

    let again = Plane::in_dir(&vault.data_dir()).await;
    assert_eq!(again.bundle().await.version(), bundle.version());
    assert_eq!(again.ask("list").await, registered);
    let after = again.ask("status").await;
    assert!(after["epoch"].as_u64() > before["epoch"].as_u64());

    let log = vault.data_dir().join("log");
    let verify = format!("audit verify --log {}", log.display());
    let verdict = plane.ask(&verify).await;
    assert_eq!(verdict["sound"], true, "{verdict}");
    assert_eq!(verdict["logs"][0]["log_id"], restored["log_id"]);

    // The newest key of the node is of the lost part of the log.
    let session = twice.dial(&again).await;
    session.discover(hello()).await.unwrap();
    let key = KeyPair::generate().unwrap();
    let issued = session.enrol(entitlement, &key).await.unwrap();
    let shown = format!("certs show {}", serial(&issued.serial));
    again.ask(&shown).await;
    let (issued, lost) = (serial(&issued.serial), serial(&lost.serial));
    assert_ne!(
        issued.log_id(),
        lost.log_id(),
        "a coordinate never means two things"
    );
    let stranger = again.dial(None).await;
    let status = stranger.attest(&unused, &key, "node").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_from_before_a_restore_still_counts() {
    let (mut plane, vault) = (Plane::start().await, Vault::new());
    let (kept, key) = (vault.0.path().join("kept"), vault.0.path().join("old.vkey"));
    let log = plane.folder().join("cp/log");
    until(async || log.join("checkpoint").exists()).await;
    std::fs::copy(log.join("checkpoint"), &kept).unwrap();
    std::fs::copy(log.join("key.vkey"), &key).unwrap();
    plane.register(WEB, NODE_A).await;
    let made = vault.back_up(&plane, "").await;
    plane.stop().await;
    let restored = restore(&plane, &vault.file(), &vault.data_dir()).await;

    let log = vault.data_dir().join("log");
    let new_key = log.join("key.vkey");
    let [log, new_key, key, kept] = [log, new_key, key, kept].map(|it| it.display().to_string());
    let own = format!("audit verify --log {log} --checkpoint {kept} --key {new_key}");
    let verdict = plane.ask(&format!("{own} --key {key}")).await;
    let report = &verdict["logs"][0];
    assert_eq!(report["log_id"], restored["log_id"], "{verdict}");
    let goes_on = &report["goes_on_from"][0];
    assert_eq!(goes_on["log_id"], made["log_id"], "{verdict}");
    assert_eq!(
        (&verdict["sound"], &report["authentic"]),
        (&true.into(), &true.into())
    );
    let output = plane.cli(&own).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("give the keys of both logs with --key"),
        "{text}"
    );
}

fn serial(bytes: &[u8]) -> Serial {
    Serial::from_bytes(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_opens_no_door_to_others() {
    let (mut plane, vault) = (Plane::start().await, Vault::new());
    let first = plane.node(NODE_A).await;
    let second = renewed(&plane, &first).await;
    let third = renewed(&plane, &second).await;
    vault.back_up(&plane, "").await;
    let workload = plane.register(WEB, NODE_A).await;
    let entitlement = workload["entitlement"].as_str().unwrap().to_owned();
    let session = third.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    let key = KeyPair::generate().unwrap();
    session.enrol(&entitlement, &key).await.unwrap();
    let secret = countersign_envoy::SECRET_TYPE;
    stream.subscribe(secret, &entitlement).await;
    let body = stream.present(&entitlement).await.body;
    let chain = countersign_envoy::read_certificate_chain(&body).unwrap();
    let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
    // A node that the backup does not know.
    let unknown = plane.node(NODE_B).await;
    plane.stop().await;

    restore(&plane, &vault.file(), &vault.data_dir()).await;
    let again = Plane::in_dir(&vault.data_dir()).await;
    let superseded = first.dial(&again).await;
    let workload = again.dial(Some((&chain, &key))).await;
    let unknown = unknown.dial(&again).await;
    for (who, session) in [
        ("superseded before the backup", superseded),
        ("a workload", workload),
        ("attested after the backup", unknown),
    ] {
        let refused = session.discover(hello()).await.err().expect(who);
        assert_eq!(refused.code(), Code::Unauthenticated, "{who}");
    }
    third.dial(&again).await.discover(hello()).await.unwrap();

    // Once it attests anew, what the lost state certified for it is worth nothing.
    let token = again.token(NODE_A).await;
    let key = KeyPair::generate().unwrap();
    let anew = again.dial(None).await;
    until(async || anew.attest(&token, &key, "node").await.is_ok()).await;
    let refused = third.dial(&again).await.discover(hello()).await.err();
    assert_eq!(refused.expect("refused").code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_left_out_on_demand() {
    let (mut plane, vault) = (Plane::start().await, Vault::new());
    let made = vault.back_up(&plane, "--without-keys").await;
    assert_eq!(made["with_keys"], false);
    let keys = plane.folder().join("cp/keys");
    let bytes = std::fs::read(vault.file()).unwrap();
    for key in std::fs::read_dir(&keys).unwrap() {
        let secret = std::fs::read(key.unwrap().path()).unwrap();
        let found = bytes.windows(secret.len()).any(|part| part == secret);
        assert!(!found, "a key is in the backup");
    }
    plane.stop().await;
    let told = restore(&plane, &vault.file(), &vault.data_dir()).await;
    assert_eq!(told["with_keys"], false);
    let restored = vault.data_dir().join("keys");
    std::fs::create_dir_all(&restored).unwrap();
    for key in std::fs::read_dir(&keys).unwrap() {
        let key = key.unwrap();
        std::fs::copy(key.path(), restored.join(key.file_name())).unwrap();
    }
    let again = Plane::in_dir(&vault.data_dir()).await;
    again.node(NODE_A).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_by_halves() {
    let (plane, vault) = (Plane::start().await, Vault::new());
    plane.register(WEB, NODE_A).await;
    vault.back_up(&plane, "").await;
    let whole = std::fs::read(vault.file()).unwrap();
    let bad = vault.0.path().join("bad.tar");

    std::fs::write(&bad, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(
        refused(&plane, &bad, &vault.data_dir()).await,
        "backup_damaged"
    );
    std::fs::write(&bad, "[ca]\npin = 1\n").unwrap();
    assert_eq!(
        refused(&plane, &bad, &vault.data_dir()).await,
        "not_a_backup"
    );
    let mut changed = whole.clone();
    // Within the database, which is the first member.
    changed[4_096] ^= 1;
    std::fs::write(&bad, &changed).unwrap();
    assert_eq!(
        refused(&plane, &bad, &vault.data_dir()).await,
        "backup_damaged"
    );
    let left: Vec<_> = std::fs::read_dir(vault.0.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");

    std::fs::create_dir(vault.data_dir()).unwrap();
    restore(&plane, &vault.file(), &vault.data_dir()).await;
    let code = refused(&plane, &vault.file(), &vault.data_dir()).await;
    assert_eq!(code, "data_dir_not_empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_keeps_in_the_data_directory_stays() {
    let mut plane = Plane::start().await;
    let folder = plane.folder().join("cp/backup");
    let (nightly, more) = (folder.join("nightly.tar"), folder.join("more.tar"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(&nightly, "theirs").unwrap();
    plane.restart().await;
    assert!(nightly.exists(), "after a start");
    plane.ask(&format!("backup --out {}", more.display())).await;
    assert!(nightly.exists() && more.exists(), "after a backup");
    plane.restart().await;
    assert!(nightly.exists() && more.exists());

    std::fs::remove_dir_all(&folder).unwrap();
    for _ in 0..2 {
        // As a file, of the name that the links once had.
        let line = format!("backup --out {}", folder.display());
        plane.ask(&line).await;
        plane.restart().await;
        assert!(folder.is_file());
    }
}

/// The code with which a backup to this place is refused; nothing appears beside it.
async fn refused_out(plane: &Plane, vault: &Vault, out: &Path) -> String {
    let before = children(vault);
    let line = format!("backup --out {} --json", out.display());
    let output = plane.cli(&line).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(children(vault), before);
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(!error["error"]["remedy"].as_str().unwrap().is_empty());
    error["error"]["code"].as_str().unwrap().to_owned()
}

fn children(vault: &Vault) -> Vec<PathBuf> {
    let children = std::fs::read_dir(vault.0.path()).unwrap();
    let mut children: Vec<_> = children.map(|child| child.unwrap().path()).collect();
    children.sort();
    children
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_replaces_nothing_but_files() {
    let (plane, vault) = (Plane::start().await, Vault::new());
    let path = |name| vault.0.path().join(name);
    let (pipe, folder, link) = (path("pipe"), path("folder"), path("link"));
    // A pipe stands for the devices, which no test may touch.
    rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    for out in [&pipe, &folder, &link] {
        let code = refused_out(&plane, &vault, out).await;
        assert_eq!(code, "backup_not_a_file", "{}", out.display());
    }
    let kind = |path| std::fs::symlink_metadata(path).unwrap().file_type();
    assert!(kind(&pipe).is_fifo() && kind(&folder).is_dir() && kind(&link).is_symlink());

    // Nor where the draft goes.
    std::fs::rename(&pipe, path("whole.tar.new")).unwrap();
    let code = refused_out(&plane, &vault, &path("whole.tar")).await;
    assert_eq!(code, "backup_not_a_file");
    let key = path("plc.key");
    std::fs::write(&key, "theirs").unwrap();
    let code = refused_out(&plane, &vault, &key).await;
    assert_eq!(code, "backup_over_another_file");
    assert_eq!(std::fs::read(&key).unwrap(), b"theirs");
    // A backup is replaced.
    for _ in 0..2 {
        vault.back_up(&plane, "").await;
    }
    assert!(kind(&vault.file()).is_file());
}

/// As a program takes it that encrypts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_stdout_is_restored() {
    let (plane, vault) = (Plane::start().await, Vault::new());
    plane.register(WEB, NODE_A).await;
    let answer = plane.cli("backup --out -").await;
    assert!(answer.status.success(), "{answer:?}");
    let told = String::from_utf8(answer.stderr).unwrap();
    assert!(told.starts_with("stdout: "), "{told}");
    std::fs::write(vault.file(), &answer.stdout).unwrap();
    restore(&plane, &vault.file(), &vault.data_dir()).await;
    let mixed = plane.cli("backup --out - --json").await;
    assert_eq!(mixed.status.code(), Some(2), "{mixed:?}");
    assert!(mixed.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_restores_of_one_backup_are_told_apart() {
    let (plane, vault) = (Plane::start().await, Vault::new());
    vault.back_up(&plane, "").await;
    let (one, other) = (vault.0.path().join("one"), vault.0.path().join("other"));
    let one = restore(&plane, &vault.file(), &one).await;
    let other = restore(&plane, &vault.file(), &other).await;
    assert_ne!(one["log_id"], other["log_id"]);
    assert!(other["epoch"].as_u64() > one["epoch"].as_u64());
}
