//! The daemon where its surroundings fail: ports, permissions, disks.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use countersign_control_plane::app;
use countersign_control_plane::clock::Clock;
use countersign_control_plane::config::Config;
use countersign_control_plane::entropy::OsEntropy;

/// Writes a configuration.
fn configured(folder: &Path, data_dir: &Path, api: &str) -> PathBuf {
    let file = folder.join("control-plane.toml");
    let text = format!(
        "trust_domain = \"example.org\"\ndata_dir = {data_dir:?}\n[api]\nlisten = \"{api}\"\n\
         [admin]\nsocket = \"./admin/admin.sock\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// Runs the daemon that cannot start.
fn run(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_countersign-control-plane"))
        .args(["--json", "run", "--config"])
        .arg(file)
        .output()
        .unwrap()
}

fn error(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().expect("an error on stderr");
    serde_json::from_str::<serde_json::Value>(last).unwrap()["error"].clone()
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = configured(folder.path(), &folder.path().join("cp"), &address);
    let output = run(&file);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = error(&output);
    let told = error.to_string();
    assert!(
        told.contains("api.listen") && told.contains(&address),
        "{told}"
    );
}

#[test]
fn a_data_dir_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "in the way").unwrap();
    let file = configured(folder.path(), &blocked.join("cp"), "127.0.0.1:0");
    let output = run(&file);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = error(&output);
    assert_eq!(error["code"], "data_dir_unusable");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(blocked.to_str().unwrap()), "{message}");
}

#[test]
fn a_data_dir_of_another_user_is_refused() {
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("cp");
    let file = configured(folder.path(), &data_dir, "127.0.0.1:0");
    let config = Config::read(&file).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let running = runtime.block_on(app::start(&config, Clock::wall(), Arc::new(OsEntropy)));
    runtime.block_on(running.unwrap().drain());
    let before = files(&data_dir);

    let binary = folder.path().join("daemon");
    crate::harness::copy_program(env!("CARGO_BIN_EXE_countersign-control-plane"), &binary);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let mut command = Command::new(binary);
    command.args(["--json", "run", "--config"]).arg(&file);
    let output = command.uid(65_534).gid(65_534).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = error(&output);
    assert_eq!(error["code"], "data_dir_unusable");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("cp") && message.contains("ermission"),
        "{message}"
    );
    assert_eq!(files(&data_dir), before, "nothing was written");
}

/// What is there, without the database's own scratch files.
fn files(data_dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = [data_dir.to_owned(), data_dir.join("keys")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().contains("state.db-"))
        .collect();
    files.sort();
    files
}

#[test]
fn a_data_dir_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = configured(folder.path(), &folder.path().join("cp"), "127.0.0.1:0");
    let config = Config::read(&file).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let running = runtime
        .block_on(app::start(&config, Clock::wall(), Arc::new(OsEntropy)))
        .unwrap();
    let output = run(&file);
    runtime.block_on(running.drain());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        error(&output)["message"]
            .as_str()
            .unwrap()
            .contains("in use")
    );
}

/// A small disk of its own, gone when dropped.
pub(crate) struct Disk(pub(crate) tempfile::TempDir);

impl Disk {
    pub(crate) fn of(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "run the tests as root with CAP_SYS_ADMIN: a full disk needs a mount"
        );
        Self(folder)
    }

    pub(crate) fn fill(&self) -> PathBuf {
        let file = self.0.path().join("ballast");
        // Until nothing fits.
        let mut ballast = std::fs::File::create(&file).unwrap();
        while std::io::Write::write_all(&mut ballast, &[0; 4_096]).is_ok() {}
        file
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_is_full_at_first_start_is_named() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), Disk::of("16k"));
    let file = configured(folder.path(), &disk.0.path().join("cp"), "127.0.0.1:0");
    let output = run(&file);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let error = error(&output);
    assert_eq!(error["code"], "data_dir_unusable");
    assert!(error["remedy"].as_str().unwrap().contains("free space"));
}

mod while_running {
    use rcgen::KeyPair;
    use tonic::Code;

    use super::Disk;
    use crate::harness::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_issues_nothing_and_loses_nothing() {
        let disk = Disk::of("8m");
        let data_dir = disk.0.path().join("cp");
        let mut plane = Plane::in_dir(&data_dir).await;
        let node = plane.node(NODE_A).await;
        let before = plane.register(WEB, NODE_A).await;
        let entitlement = before["entitlement"].as_str().unwrap();
        let session = node.dial(&plane).await;
        let issued = plane.ask("status").await["svids_issued"].clone();

        let ballast = disk.fill();
        let mut failed = None;
        // What the database has reserved already may still take a few.
        for n in 0..2_000 {
            let line = session
                .enrol(entitlement, &KeyPair::generate().unwrap())
                .await;
            if let Err(status) = line {
                failed = Some((n, status));
                break;
            }
        }
        let (granted, status) = failed.expect("the disk is full");
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let told = plane
            .cli(&format!(
                "register --id {WEB}2 --node {NODE_A} --selector unix:uid:1 --owner me --json"
            ))
            .await;
        assert_eq!(told.status.code(), Some(4), "{told:?}");
        let now = plane.ask("status").await["svids_issued"].as_u64().unwrap();
        assert_eq!(
            now,
            issued.as_u64().unwrap() + granted,
            "what failed is not issued"
        );
        let rotated = plane.cli("ca rotate-issuing --json").await;
        assert_eq!(rotated.status.code(), Some(4), "{rotated:?}");
        let keys = std::fs::read_dir(data_dir.join("keys")).unwrap().count();
        assert_eq!(keys, 2, "no key without a certificate stays");

        std::fs::remove_file(ballast).unwrap();
        plane.restart().await;
        let listed = plane.ask("list").await;
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        let again = plane.ask("status").await;
        // The server's own SVID is issued anew at every start, and counted apart.
        assert_eq!(again["svids_issued"].as_u64().unwrap(), now);
        let own = again["server_certificates_issued"].as_u64();
        assert_eq!(own, Some(2), "{again}");
        let session = node.dial(&plane).await;
        let key = KeyPair::generate().unwrap();
        session.enrol(entitlement, &key).await.unwrap();
        plane.stop().await;
    }
}
