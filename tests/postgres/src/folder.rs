//! The folder of this process: everything that the harness writes lies in it, and it ends with the
//! process, however that ends.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::installed::INSTALLED;

/// Ends what works in a folder, and removes it.
const END: &str = include_str!("end.sh");

static OURS: LazyLock<Ours> = LazyLock::new(Ours::make);

struct Ours {
    path: PathBuf,
    made: AtomicU32,
    /// Waits for the end of this process, which holds the other end of its standard input. A value of
    /// a static is never dropped, and a signal asks nobody.
    _end: Child,
}

impl Ours {
    fn make() -> Self {
        let made = tempfile::Builder::new()
            .prefix("countersign-postgres-")
            .tempdir();
        // A process tells the true path of the folder that it works in.
        let path = made.unwrap().keep().canonicalize().unwrap();
        open(&path);
        let end = script(&path)
            .arg("--after")
            .stdin(Stdio::piped())
            // Ctrl-C at the terminal is not for it.
            .process_group(0)
            .spawn();
        Self {
            path,
            made: AtomicU32::new(0),
            _end: end.expect("there is a shell"),
        }
    }
}

/// A new folder, which belongs to the account of the server.
pub(crate) fn make() -> PathBuf {
    let number = OURS.made.fetch_add(1, Ordering::Relaxed);
    let path = OURS.path.join(number.to_string());
    std::fs::create_dir(&path).unwrap();
    open(&path);
    path
}

/// A new folder at a path, which only that account may enter.
pub(crate) fn make_private(path: &Path) {
    std::fs::DirBuilder::new().mode(0o700).create(path).unwrap();
    INSTALLED.give(path);
}

/// Ends what works in a folder that was made here, and removes it.
pub(crate) fn end(path: &Path) {
    let ended = script(path).stdin(Stdio::null()).status();
    assert!(ended.unwrap().success(), "{} stays", path.display());
}

fn script(path: &Path) -> Command {
    let mut script = Command::new("sh");
    script
        .args(["-c", END, "end.sh"])
        .arg(path)
        .current_dir("/");
    script.stdout(Stdio::null()).stderr(Stdio::null());
    script
}

/// Who tests as another account than ours may read what is public in it.
fn open(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    INSTALLED.give(path);
}
