use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::pki::{Authority, id, serial, trust_domain};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn credential(index: u64) -> NodeCredential {
    NodeCredential {
        svid: Authority::new("root").svid(&id("/node/a"), serial(index)),
        key_epoch: 4,
    }
}

fn stored(version: &str) -> StoredBundle {
    StoredBundle {
        bundle: Authority::new("root").bundle(),
        resource_version: Some(version.to_owned()),
        retired: Some(vec![[7; 32]]),
    }
}

#[test]
fn what_was_stored_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("state")).unwrap();
    let (node, bundle) = (credential(1), stored("abc"));
    state.store_node(&node).unwrap();
    state.store_bundle(&bundle).unwrap();
    let read = state.load_node().unwrap().unwrap();
    assert_eq!(read.svid.chain, node.svid.chain);
    assert_eq!(*read.svid.key, *node.svid.key);
    assert_eq!((read.svid.serial, read.key_epoch), (serial(1), 4));
    let read = state.load_bundle(&trust_domain()).unwrap().unwrap();
    assert_eq!(read.bundle.roots(), bundle.bundle.roots());
    assert_eq!(read.resource_version.as_deref(), Some("abc"));
    assert_eq!(read.retired, Some(vec![[7; 32]]));
}

#[test]
fn older_bundle_file_knows_no_retired_roots() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("state")).unwrap();
    state.store_bundle(&stored("abc")).unwrap();
    let text = fs::read(state.file(BUNDLE_FILE)).unwrap();
    let mut file: serde_json::Value = serde_json::from_slice(&text).unwrap();
    file.as_object_mut().unwrap().remove("retired").unwrap();
    fs::write(state.file(BUNDLE_FILE), file.to_string()).unwrap();
    let read = state.load_bundle(&trust_domain()).unwrap().unwrap();
    assert_eq!(read.retired, None);
}

#[test]
fn nobody_else_can_read_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let state = StateDir::open(&path).unwrap();
    state.store_node(&credential(1)).unwrap();
    state.store_bundle(&stored("")).unwrap();
    assert_eq!(mode(&path), 0o700);
    for entry in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a_state_that_another_can_exchange_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = folder.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(54_321), None).unwrap();
    for path in [theirs.clone(), theirs.join("state")] {
        let refused = StateDir::open(&path).unwrap_err();
        assert!(
            refused.to_string().contains("belongs to uid 54321"),
            "{refused}"
        );
    }
    assert!(
        fs::read_dir(&theirs).unwrap().next().is_none(),
        "nothing was made"
    );
}

#[test]
fn a_write_that_fails_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    state.store_node(&credential(1)).unwrap();
    // The draft cannot be made: its name is taken by a folder that is not empty.
    fs::create_dir_all(state.file("node.json.new/occupied")).unwrap();
    let error = state.store_node(&credential(2)).unwrap_err();
    assert!(matches!(error, StateError::Io { .. }), "{error}");
    let read = state.load_node().unwrap().unwrap();
    assert_eq!(read.svid.serial, serial(1));
}

#[test]
fn a_draft_of_a_crashed_process_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    fs::write(state.file("node.json.new"), b"{\"half").unwrap();
    assert!(state.load_node().unwrap().is_none());
    state.store_node(&credential(1)).unwrap();
    assert!(!state.file("node.json.new").exists());
    assert!(state.load_node().unwrap().is_some());
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    fs::write(state.file(NODE_FILE), b"{}").unwrap();
    let error = state.load_node().unwrap_err().to_string();
    assert!(error.contains("node.json is damaged"), "{error}");
}

#[test]
fn one_directory_serves_one_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let first = StateDir::open(folder.path()).unwrap();
    let second = StateDir::open(folder.path()).unwrap_err();
    assert!(matches!(second, StateError::InUse(_)), "{second}");
    drop(first);
    assert!(StateDir::open(folder.path()).is_ok());
}

#[test]
fn attempt_keeps_its_key_for_one_token() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    let key = state.attempt("token").unwrap();
    assert_eq!(mode(&state.file("attestation.json")), 0o600);
    drop(state);
    let state = StateDir::open(folder.path()).unwrap();
    assert_eq!(state.attempt("token").unwrap().spki(), key.spki());
    let other = state.attempt("another").unwrap();
    assert_ne!(other.spki(), key.spki());
    let text = fs::read_to_string(state.file("attestation.json")).unwrap();
    assert!(!text.contains("another"), "a token is never written");
    fs::write(state.file("attestation.json"), b"{\"half").unwrap();
    state.attempt("another").unwrap();
    state.store_node(&credential(1)).unwrap();
    assert!(!state.file("attestation.json").exists());
}
