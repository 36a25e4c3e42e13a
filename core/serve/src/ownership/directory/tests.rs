//! What others do between the two judgements is done here before the second.

use std::fs;

use super::super::tests::{Folder, STRANGER, own};
use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & ALL_BITS
}

#[test]
fn missing_directories_are_made_for_us_alone() {
    let folder = Folder::new();
    let path = folder.path().join("deep/state");
    make_ours(&path).unwrap();
    make_ours(&path).unwrap();
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (MODE, MODE));
}

#[test]
fn a_directory_that_others_read_is_closed() {
    let folder = Folder::new();
    let path = folder.make("a", own(), 0o755);
    fs::write(path.join("kept"), "").unwrap();
    make_ours(&path).unwrap();
    assert_eq!(mode(&path), MODE);
    let open = folder.make("open", own(), 0o777);
    make_ours(&open).unwrap();
    assert_eq!(mode(&open), MODE);
}

/// The directory above is sticky, so that anybody can make what is not there yet.
#[test]
fn a_directory_that_another_made_first_is_not_taken() {
    let folder = Folder::new();
    let sticky = folder.make("sticky", own(), 0o1777);
    for (name, deep) in [("a", "a"), ("b", "b/state")] {
        let path = sticky.join(deep);
        require_ours(&path).unwrap();
        let theirs = folder.make(&format!("sticky/{name}"), STRANGER, 0o777);
        let refused = take(&path).unwrap_err().to_string();
        assert!(refused.contains("belongs to uid 54321"), "{refused}");
        assert_eq!(mode(&theirs), 0o777, "it is left as it is");
    }
}

#[test]
fn a_file_that_another_left_in_time_is_not_believed() {
    let folder = Folder::new();
    let open = folder.make("open", own(), 0o1777);
    require_ours(&open).unwrap();
    fs::write(open.join("bundle.json"), "").unwrap();
    // Nor at the next start, which finds what this one left.
    for _ in 0..2 {
        let refused = take(&open).unwrap_err();
        assert!(
            matches!(refused, DirectoryError::NotOurs(NotOurs::Writable { .. })),
            "{refused}"
        );
        assert_eq!(mode(&open), 0o1777);
    }
    let refused = make_ours(&open).unwrap_err();
    assert!(matches!(refused, DirectoryError::NotOurs(_)), "{refused}");
}

#[test]
fn a_directory_in_its_place_is_not_closed() {
    let folder = Folder::new();
    let path = folder.make("a", own(), 0o755);
    let found = Rules::of_process().walk(&path).unwrap().unwrap();
    fs::rename(&path, folder.path().join("before")).unwrap();
    folder.make("a", own(), 0o755);
    let refused = open(&found).unwrap_err().to_string();
    assert!(refused.contains("was replaced"), "{refused}");
}
