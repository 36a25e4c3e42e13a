//! A SoftHSM2 token for one test, in a process and a folder of its own.
//!
//! SoftHSM2 reads its configuration once a process, so a test runs itself again with that of its
//! own folder: whether the tests share a process or not makes no difference.

#![allow(
    clippy::unwrap_used,
    reason = "for tests, which end where something is not as it must be"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Pkcs11Settings;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const CONFIGURATION: &str = "SOFTHSM2_CONF";
const LABEL: &str = "countersign";
/// Its user PIN.
pub const PIN: &str = "314159";

/// Locks every file below a folder until its standard input ends.
const TAKE_LOCKS: &str = "import fcntl, pathlib, sys
held = [open(p, 'r+b') for p in pathlib.Path(sys.argv[1]).rglob('*') if p.is_file()]
for file in held: fcntl.lockf(file, fcntl.LOCK_EX)
print('locked', flush=True)
sys.stdin.read()
";

/// Another process that keeps the token's files to itself.
pub struct Hang(Child);

impl Drop for Hang {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The token and its files.
pub struct SoftToken {
    folder: PathBuf,
}

/// Runs `body` with a token, in a process of its own. `test` is the path of the calling test:
/// `concat!(module_path!(), "::name")`.
pub fn with_token(test: &str, body: impl FnOnce(&SoftToken)) {
    let (_, test) = test.split_once("::").expect("a path within the crate");
    let folder = std::env::var_os(CONFIGURATION).map(PathBuf::from);
    let folder = folder.as_deref().and_then(Path::parent);
    match folder.filter(|folder| folder.ends_with(folder_name(test))) {
        Some(folder) => body(&SoftToken::initialised(folder)),
        None => in_a_process_of_its_own(test),
    }
}

fn folder_name(test: &str) -> String {
    test.replace("::", ".")
}

fn in_a_process_of_its_own(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join(folder_name(test));
    let tokens = folder.join("tokens");
    fs::create_dir_all(&tokens).unwrap();
    let configuration = folder.join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\n", tokens.display());
    fs::write(&configuration, text).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CONFIGURATION, &configuration)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{test} did not run: {text}");
}

impl SoftToken {
    fn initialised(folder: &Path) -> Self {
        initialise();
        let token = Self {
            folder: folder.to_owned(),
        };
        token.write_pin(PIN);
        token
    }

    /// How it is configured.
    pub fn settings(&self) -> Pkcs11Settings {
        Pkcs11Settings {
            module: MODULE.into(),
            token: LABEL.to_owned(),
            serial: None,
            pin_file: self.pin_file(),
        }
    }

    /// Makes another token of the same label, with the same PIN.
    pub fn initialise_another(&self) {
        assert!(self.folder.is_dir());
        initialise();
    }

    /// The serial numbers of all tokens, as the module's own tool tells them.
    pub fn serials(&self) -> Vec<String> {
        assert!(self.folder.is_dir());
        let shown = Command::new("softhsm2-util").arg("--show-slots").output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        let serials = shown.lines().filter_map(|line| {
            let serial = line.trim().strip_prefix("Serial number:")?.trim();
            (!serial.is_empty()).then(|| serial.to_owned())
        });
        serials.collect()
    }

    /// The file that holds the PIN.
    pub fn pin_file(&self) -> PathBuf {
        self.folder.join("pin")
    }

    /// Writes another PIN there.
    pub fn write_pin(&self, pin: &str) {
        fs::write(self.pin_file(), format!("{pin}\n")).unwrap();
        self.open_pin(0o600);
    }

    /// Gives the file another mode.
    pub fn open_pin(&self, mode: u32) {
        fs::set_permissions(self.pin_file(), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Takes the token away, as if it were pulled out.
    pub fn pull_out(&self) {
        for token in self.tokens().read_dir().unwrap() {
            let token = token.unwrap();
            fs::rename(token.path(), self.folder.join("away")).unwrap();
        }
    }

    /// Brings it back.
    pub fn put_back(&self) {
        fs::rename(self.folder.join("away"), self.tokens().join("back")).unwrap();
    }

    /// Makes every call that needs the token's files wait, until this is dropped: the module takes
    /// locks (fcntl) on them, and another process has them all.
    pub fn hang(&self) -> Hang {
        let mut holder = Command::new("python3")
            .args(["-c", TAKE_LOCKS])
            .arg(self.tokens())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        let told = holder.stdout.take().expect("it is piped");
        BufReader::new(told).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        Hang(holder)
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }
}

fn initialise() {
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", LABEL])
        .args(["--so-pin", "271828", "--pin", PIN])
        .output()
        .expect("softhsm2 is installed by tests/setup.sh");
    assert!(made.status.success(), "{made:?}");
}
