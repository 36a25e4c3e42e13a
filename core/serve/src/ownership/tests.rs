//! Needs root, as the sandbox of the project's tests has it: directories of other users are made.

use std::fs::{DirBuilder, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::Command;

use super::*;
use crate::testing::{is_child, run_as_child_in};

pub(super) const STRANGER: u32 = 54_321;

/// A directory of ours in `/tmp`, which everybody may write in and which is sticky.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A directory in it, by owner and mode.
    pub(super) fn make(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        DirBuilder::new().create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        path
    }
}

pub(super) fn own() -> u32 {
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

/// A file of this owner and mode.
fn file(path: PathBuf, owner: u32, mode: u32) -> PathBuf {
    fs::write(&path, "roots").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    chown(&path, Some(owner), Some(owner)).unwrap();
    path
}

#[test]
fn a_file_of_ours_is_opened() {
    let folder = Folder::new();
    let path = file(folder.path().join("bundle"), own(), 0o644);
    let mut text = String::new();
    let mut opened = open_ours(&path).unwrap();
    opened.read_to_string(&mut text).unwrap();
    assert_eq!(text, "roots");
}

#[test]
fn a_file_that_another_can_write_is_not_opened() {
    let folder = Folder::new();
    let theirs = file(folder.path().join("theirs"), STRANGER, 0o600);
    assert!(matches!(open_ours(&theirs), Err(NotOurs::Owner { .. })));
    let open = file(folder.path().join("open"), own(), 0o646);
    assert!(matches!(open_ours(&open), Err(NotOurs::Writable { .. })));
    let group = file(folder.path().join("group"), own(), 0o664);
    chown(&group, None, Some(STRANGER)).unwrap();
    assert!(matches!(open_ours(&group), Err(NotOurs::Writable { .. })));
    let shared = folder.make("shared", own(), 0o777);
    let within = file(shared.join("bundle"), own(), 0o600);
    assert!(matches!(open_ours(&within), Err(NotOurs::Writable { .. })));
}

#[test]
fn only_a_regular_file_is_opened() {
    let folder = Folder::new();
    let refused = open_ours(&folder.make("a", own(), 0o700)).unwrap_err();
    assert!(refused.to_string().contains("no regular file"), "{refused}");
    let fifo = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let refused = open_ours(&fifo).unwrap_err();
    assert!(refused.to_string().contains("no regular file"), "{refused}");
    open_ours(&folder.path().join("missing")).unwrap_err();
}

/// As the kubelet lays it out: links of root in a directory that everybody may write.
struct ConfigMap(Folder);

impl ConfigMap {
    fn laid_out() -> Self {
        let folder = Folder::new();
        let map = folder.make("map", own(), 0o777);
        let version = folder.make("map/..2026", own(), 0o755);
        file(version.join("bundle.pem"), own(), 0o644);
        symlink("..2026", map.join("..data")).unwrap();
        symlink("..data/bundle.pem", map.join("bundle.pem")).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("map/bundle.pem")
    }
}

/// In a container it is mounted read-only.
#[test]
fn a_config_map_is_opened_where_nobody_can_write_it() {
    if !is_child() {
        let map = ConfigMap::laid_out();
        let opened = open_ours(&map.file());
        assert!(matches!(opened, Err(NotOurs::Writable { .. })), "writable");
        let test = "ownership::tests::a_config_map_is_opened_where_nobody_can_write_it";
        return run_as_child_in("--mount", "", test);
    }
    let map = ConfigMap::laid_out();
    let (folder, mounted) = (map.0.path().join("map"), Path::new("/mnt"));
    for arguments in [
        vec!["--bind".as_ref(), folder.as_os_str(), mounted.as_os_str()],
        vec![
            "--options".as_ref(),
            "remount,ro,bind".as_ref(),
            mounted.as_os_str(),
        ],
    ] {
        let done = Command::new("mount").args(arguments).status().unwrap();
        assert!(done.success());
    }
    open_ours(&mounted.join("bundle.pem")).unwrap();
}
