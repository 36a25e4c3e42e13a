//! A state directory whose disk is full.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// A small file system of its own, unmounted with the guard. Mounting needs root.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=128k", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(at).status();
        assert!(mounted.unwrap().success(), "mounting a tmpfs needs root");
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
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
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
    // The node's own does: it keeps the old one, and says why.
    let mut renewed = node_right(NODE);
    renewed.min_key_epoch = 1;
    plane.entitle(&renewed);
    let own_problem = || {
        let snapshot = node.holdings.load();
        snapshot.entries[&EntitlementId::node()].problem.clone()
    };
    until(|| own_problem().is_some_and(|why| why.contains("No space left"))).await;
    assert_eq!(node.serial(&EntitlementId::node()), Some(own));
    // With room on the disk both are asked for again.
    std::fs::remove_file(disk.filler()).unwrap();
    until(|| roots() == 2 && node.serial(&EntitlementId::node()) != Some(own)).await;
    assert_eq!((problem(), own_problem()), (None, None));
    let newest = node.serial(&EntitlementId::node());
    node.end().await;
    let again = Node::start(&plane, &folder);
    assert_eq!(Some(again.holds(&EntitlementId::node()).await), newest);
    again.end().await;
}
