//! Backups, as `restore` reads them.

use std::fs;
use std::path::Path;

use countersign_backup::{FORMAT, Manifest, Pack, unpack};
use jiff::Timestamp;

/// What is taken is what was packed, and whatever comes: nothing lands beside the folder.
pub fn run(data: &[u8]) -> bool {
    let outer = tempfile::tempdir().expect("a folder can be made");
    let folder = outer.path().join("restored");
    fs::create_dir(&folder).expect("the folder is ours");
    let taken = unpack(data, &folder);
    let beside = fs::read_dir(outer.path())
        .expect("the folder is ours")
        .count();
    assert_eq!(beside, 1, "something left its folder");
    if taken.is_ok() {
        let database = fs::read(folder.join("state.db")).ok();
        let log = fs::read(folder.join("log/checkpoint")).ok();
        assert_eq!(
            (database.as_deref(), log.as_deref()),
            (Some(DATABASE), Some(LOG))
        );
    }
    assert!(has_no_links(&folder));
    taken.is_ok()
}

fn has_no_links(folder: &Path) -> bool {
    let children = fs::read_dir(folder).expect("the folder is ours").flatten();
    children.into_iter().all(|child| match child.file_type() {
        Ok(kind) if kind.is_dir() => has_no_links(&child.path()),
        Ok(kind) => kind.is_file(),
        Err(_) => false,
    })
}

const DATABASE: &[u8] = b"database";
const LOG: &[u8] = b"checkpoint";

/// A database and a log.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut pack = Pack::new(Vec::new());
    for (name, bytes) in [("state.db", DATABASE), ("log/checkpoint", LOG)] {
        pack.bytes(bytes, name).expect("memory takes it");
    }
    let manifest = Manifest {
        format: FORMAT,
        trust_domain: "example.org".to_owned(),
        epoch: 1,
        log_id: 1 << 20,
        log_size: 0,
        made_at: Timestamp::UNIX_EPOCH,
        with_keys: false,
        files: Default::default(),
    };
    vec![pack.finish(manifest).expect("memory takes it")]
}
