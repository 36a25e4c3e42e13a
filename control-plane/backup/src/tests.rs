use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        trust_domain: "example.org".to_owned(),
        epoch: 1,
        log_id: 1 << 20,
        log_size: 3,
        made_at: jiff::Timestamp::UNIX_EPOCH,
        with_keys: false,
        files: BTreeMap::new(),
    }
}

/// A backup of a folder with a database and a log.
fn packed() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    std::fs::create_dir_all(log.join("tile/0")).unwrap();
    std::fs::create_dir_all(log.join("signatures")).unwrap();
    for name in ["checkpoint", "tile/0/000", "signatures/0"] {
        std::fs::write(log.join(name), name).unwrap();
    }
    std::fs::write(
        log.join("signatures/0"),
        "signatures/0, and what came later",
    )
    .unwrap();
    let grown = |path: &Path| path.ends_with("signatures/0").then_some(12);
    let mut pack = Pack::new(Vec::new());
    pack.bytes(b"database", "state.db").unwrap();
    pack.folder(&log, "log", &grown).unwrap();
    pack.finish(manifest()).unwrap()
}

fn unpacked(bytes: &[u8]) -> Result<Manifest, UnpackError> {
    let folder = tempfile::tempdir().unwrap();
    unpack(bytes, folder.path())
}

#[test]
fn what_was_packed_is_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let found = unpack(packed().as_slice(), folder.path()).unwrap();
    let names: Vec<_> = found.files.keys().map(String::as_str).collect();
    let expected = [
        "log/checkpoint",
        "log/signatures/0",
        "log/tile/0/000",
        "state.db",
    ];
    assert_eq!(names, expected);
    for name in ["checkpoint", "tile/0/000", "signatures/0"] {
        let text = std::fs::read_to_string(folder.path().join("log").join(name)).unwrap();
        assert_eq!(text, name);
    }
    let again = unpack(packed().as_slice(), folder.path());
    assert!(
        matches!(again, Err(UnpackError::Io(_))),
        "nothing is overwritten"
    );
}

#[test]
fn a_backup_that_was_cut_off_is_refused() {
    let whole = packed();
    for length in (0..whole.len()).step_by(64) {
        // The zeros at the end of a tar file say nothing.
        if whole[length..].iter().all(|byte| *byte == 0) {
            break;
        }
        assert!(unpacked(&whole[..length]).is_err(), "{length}");
    }
}

/// What is in a file that was named by mistake is nobody's to read in an error.
#[test]
fn another_file_is_said_to_be_no_backup() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(6);
    tar.append_data(&mut header, "home/notes", &b"secret"[..])
        .unwrap();
    let others = tar.into_inner().unwrap();
    let text = b"secret = 1\n".repeat(200);
    for bytes in [&b""[..], b"secret", &text, &others, &packed()[..300]] {
        let refused = unpacked(bytes).unwrap_err();
        assert!(matches!(refused, UnpackError::NotABackup(_)), "{refused:?}");
        assert!(!begins_as_backup(bytes));
    }
    assert!(begins_as_backup(&packed()));
}

#[test]
fn what_the_archive_says_is_not_told() {
    let mut bytes = packed();
    // The size of the second member: no number.
    let second = 2 * 512;
    bytes[second + 124..second + 136].copy_from_slice(b"secret text!");
    let refused = unpacked(&bytes).unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, UnpackError::Damaged(_)), "{refused:?}");
    assert!(
        !text.contains("secret") && !text.contains("header"),
        "{text}"
    );
}

#[test]
fn another_format_is_told_apart_from_damage() {
    let mut pack = Pack::new(Vec::new());
    pack.bytes(b"", "state.db").unwrap();
    let future = Manifest {
        format: 2,
        ..manifest()
    };
    let bytes = pack.finish(future).unwrap();
    assert!(matches!(unpacked(&bytes), Err(UnpackError::Format(2))));
}

#[test]
fn a_member_never_leaves_the_folder() {
    for name in [
        "../state.db",
        "/state.db",
        "log/../../x",
        "keys/../../x",
        "bin/sh",
        ".",
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        // The library refuses to write such a name, an attacker does not.
        let bytes = name.as_bytes();
        header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        let mut first = tar::Header::new_gnu();
        first.set_size(0);
        tar.append_data(&mut first, "state.db", &b""[..]).unwrap();
        tar.append(&header, &b"evil"[..]).unwrap();
        let refused = unpacked(&tar.into_inner().unwrap());
        assert!(
            matches!(refused, Err(UnpackError::Damaged(_))),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn a_link_is_refused() {
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Directory,
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_link(&mut header, "log/checkpoint", Path::new("/etc/passwd"))
            .unwrap();
        let refused = unpacked(&tar.into_inner().unwrap());
        assert!(
            matches!(refused, Err(UnpackError::Damaged(_))),
            "{refused:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_changed_byte_of_a_file_is_noticed(which in 0..4usize, bit in 0..8u32) {
        let mut bytes = packed();
        let content: &[u8] = [&b"database"[..], b"checkpoint", b"tile/0/000", b"signatures/0"][which];
        // The content begins a block, the name of a member does not hold it whole.
        let at = (0..bytes.len()).step_by(512).find(|&at| bytes[at..].starts_with(content));
        bytes[at.unwrap()] ^= 1 << bit;
        prop_assert!(matches!(unpacked(&bytes), Err(UnpackError::Damaged(_))));
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(unpacked(&bytes).is_err());
    }
}
