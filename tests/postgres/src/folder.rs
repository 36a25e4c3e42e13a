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
/// Where that lies, in the folder that it removes.
const END_SH: &str = "end.sh";

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
        std::fs::write(path.join(END_SH), END).unwrap();
        let end = script(&path, &path)
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
    let ended = script(&OURS.path, path).stdin(Stdio::null()).status();
    let is_gone = ended.is_ok_and(|status| status.success());
    // A test that has failed says why, and a second panic would end all others.
    assert!(
        is_gone || std::thread::panicking(),
        "{} stays",
        path.display()
    );
}

fn script(ours: &Path, path: &Path) -> Command {
    let mut script = Command::new("sh");
    script.arg(ours.join(END_SH)).arg(path).current_dir("/");
    script.stdout(Stdio::null()).stderr(Stdio::null());
    script
}

/// Who tests as another account than ours may read what is public in it.
fn open(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    INSTALLED.give(path);
}
