//! Needs root, as the sandbox of the project's tests has it: directories of other users are made.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use super::*;

const STRANGER: u32 = 54_321;

/// A directory of ours in `/tmp`, which everybody may write in and which is sticky.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    /// A directory in it, by owner and mode.
    fn make(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        DirBuilder::new().create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        path
    }
}

fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn own_directories_are_ours() {
    let folder = Folder::new();
    require_ours(&folder.make("a", own(), 0o700)).unwrap();
    require_ours(&folder.0.path().join("not/yet/there")).unwrap();
    let sticky = folder.make("sticky", own(), 0o1777);
    require_ours(&sticky.join("cp")).unwrap();
}

#[test]
fn a_directory_of_another_is_refused() {
    let folder = Folder::new();
    let theirs = folder.make("theirs", STRANGER, 0o700);
    for path in [theirs.clone(), theirs.join("cp"), theirs.join("deep/cp")] {
        let refused = require_ours(&path).unwrap_err();
        assert!(
            matches!(&refused, NotOurs::Owner { path, uid } if *path == theirs && *uid == STRANGER)
        );
        assert!(refused.remedy("data_dir").contains("another data_dir"));
    }
}

#[test]
fn a_parent_that_others_write_is_refused() {
    let folder = Folder::new();
    let open = folder.make("open", own(), 0o777);
    let shared = folder.make("shared", own(), 0o770);
    chown(&shared, None, Some(STRANGER)).unwrap();
    for parent in [open, shared] {
        let child = parent.join("cp");
        assert!(
            matches!(require_ours(&child), Err(NotOurs::Writable { .. })),
            "not there yet"
        );
        fs::create_dir(&child).unwrap();
        assert!(matches!(
            require_ours(&child),
            Err(NotOurs::Writable { .. })
        ));
    }
}

#[test]
fn an_open_directory_must_be_empty() {
    let folder = Folder::new();
    let open = folder.make("open", own(), 0o777);
    require_ours(&open).unwrap();
    fs::write(open.join("planted"), "").unwrap();
    assert!(matches!(require_ours(&open), Err(NotOurs::Writable { .. })));
}

#[test]
fn links_of_others_lead_nowhere() {
    let folder = Folder::new();
    let (ours, theirs) = (
        folder.make("a", own(), 0o700),
        folder.make("b", STRANGER, 0o755),
    );
    let link = |name: &str, target: &Path| {
        let path = folder.0.path().join(name);
        symlink(target, &path).unwrap();
        path
    };
    require_ours(&link("absolute", &ours)).unwrap();
    require_ours(&link("relative", Path::new("./b/../a"))).unwrap_err();
    require_ours(&link("short", Path::new("a"))).unwrap();
    require_ours(&link("to-theirs", &theirs.join("cp"))).unwrap_err();
    let planted = link("planted", &ours);
    std::os::unix::fs::lchown(&planted, Some(STRANGER), None).unwrap();
    require_ours(&planted).unwrap_err();
    let looped = link("loop", &folder.0.path().join("loop"));
    require_ours(&looped).unwrap_err();
}

#[test]
fn a_user_has_what_it_was_given() {
    let folder = Folder::new();
    let given = folder.make("run", STRANGER, 0o755);
    require_given_to(STRANGER, &given.join("admin.sock")).unwrap();
    require_given_to(STRANGER + 1, &given.join("admin.sock")).unwrap_err();
    // Anybody could have made this one.
    folder.make("tmp", own(), 0o1777);
    let squatted = folder.make("tmp/run", STRANGER, 0o755);
    require_given_to(STRANGER, &squatted.join("admin.sock")).unwrap_err();
}
