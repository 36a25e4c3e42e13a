//! A state directory whose disk is full.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::forks;

/// A small file system of its own, unmounted with the guard. Mounting needs root.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=128k", "tmpfs"];
        let mounted = forks::output(Command::new("mount").args(options).arg(at));
        assert!(
            mounted.unwrap().status.success(),
            "mounting a tmpfs needs root"
        );
        Self(at.to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        while filler.write_all(&[0; 4_096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the node's lock is open until its task is gone.
        let _ = forks::output(Command::new("umount").arg("-l").arg(&self.0));
    }
}

/// The serial of the node's credential on disk, whoever holds the lock.
fn stored(folder: &TempDir) -> Serial {
    let text = std::fs::read(folder.path().join("state/node.json")).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
    serde_json::from_value(file["serial"].clone()).unwrap()
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_says_so() {
    let (plane, folder) = world().await;
    let disk = SmallDisk::mount(&config(&plane, &folder).state_dir);
    let mut web = right('1', "/web", 1);
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    let (serial, own) = (
        node.holds(&web.id).await,
        node.holds(&EntitlementId::node()).await,
    );
    disk.fill();
    let standby = Authority::new("standby");
    plane.publish_bundle(&[&plane.authority, &standby]);
    let problem = || node.holdings.load().bundle_problem.clone();
    until(|| problem().is_some_and(|why| why.contains("No space left"))).await;
    let roots = || node.holdings.load().bundle.clone().unwrap().roots().len();
    assert_eq!(roots(), 1, "what cannot be kept is not trusted");
    // Workload keys need no disk.
    web.min_key_epoch = 1;
    plane.entitle(&web);
    until(|| node.serial(&web.id).is_some_and(|s| s != serial)).await;
    // The node's own is used from memory, and that it is not on disk is told.
    let mut renewed = node_right(NODE);
    renewed.min_key_epoch = 1;
    plane.entitle(&renewed);
    until(|| node.serial(&EntitlementId::node()) != Some(own)).await;
    let unsaved = || node.holdings.load().unsaved.clone();
    assert!(unsaved().is_some_and(|why| why.contains("No space left")));
    assert_eq!(stored(&folder), own);
    // Those on the stream are judged by the newest: it is the one that is presented.
    let newest = node.serial(&EntitlementId::node());
    plane.end_streams();
    until(|| plane.state().presented.last().copied() == newest).await;
    // With room on the disk one is asked for again, the other written.
    std::fs::remove_file(disk.filler()).unwrap();
    until(|| roots() == 2 && unsaved().is_none()).await;
    assert_eq!(problem(), None);
    assert_eq!(Some(stored(&folder)), newest);
    node.end().await;
    let again = Node::start(&plane, &folder);
    assert_eq!(Some(again.holds(&EntitlementId::node()).await), newest);
    again.end().await;
}

#[tokio::test]
async fn attestation_that_no_disk_takes_is_held() {
    let (plane, folder) = world().await;
    let state = config(&plane, &folder).state_dir;
    // No draft can be made: each name is taken by a folder that is not empty.
    let taken = ["node.json.new", "bundle.json.new"].map(|name| state.join(name));
    for path in &taken {
        std::fs::create_dir_all(path.join("occupied")).unwrap();
    }
    let web = right('1', "/web", 1);
    plane.entitle(&web);
    let node = Node::start(&plane, &folder);
    let own = node.holds(&EntitlementId::node()).await;
    node.holds(&web.id).await;
    assert!(!state.join("node.json").exists());
    // Neither a lost stream nor a lost control plane keeps it from being written later.
    plane.end_streams();
    for path in &taken {
        std::fs::remove_dir_all(path).unwrap();
    }
    until(|| node.holdings.load().unsaved.is_none()).await;
    node.end().await;
    std::fs::remove_file(folder.path().join("token")).unwrap();
    let again = Node::start(&plane, &folder);
    assert_eq!(again.holds(&EntitlementId::node()).await, own);
    again.end().await;
}

#[tokio::test]
async fn full_disk_is_tried_again_at_bounded_pace() {
    let (plane, folder) = world().await;
    let (_node, mut control) = Node::ready(&plane, &folder);
    assert_eq!(control.save_when_due(Instant::now()), None);
    let state = config(&plane, &folder).state_dir;
    std::fs::create_dir_all(state.join("bundle.json.new/occupied")).unwrap();
    control
        .installer
        .attested_bundle(vec![plane.authority.root()])
        .unwrap();
    let first = control
        .save_when_due(Instant::now())
        .expect("it is tried again");
    assert_eq!(
        control.save_when_due(Instant::now()),
        Some(first),
        "and not before that"
    );
    for _ in 0..10 {
        control.save_at = Some(Instant::now());
        let wait = control
            .save_when_due(Instant::now())
            .expect("it still fails")
            - Instant::now();
        assert!(wait <= crate::backoff::LONGEST);
    }
    std::fs::remove_dir_all(state.join("bundle.json.new")).unwrap();
    control.save_at = Some(Instant::now());
    assert_eq!(control.save_when_due(Instant::now()), None);
    assert!(state.join("bundle.json").exists());
}
