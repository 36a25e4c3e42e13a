//! A data directory that every cluster of this process begins with: `initdb` takes most of a second, a
//! copy a tenth of that.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::folder;
use crate::installed::INSTALLED;

/// The role that owns databases: no superuser, and it may make neither databases nor roles.
pub(crate) const ROLE: &str = "countersign";
/// The database that each cluster has from its start.
pub(crate) const DATABASE: &str = "countersign";
/// The role of the harness.
pub(crate) const SUPERUSER: &str = "postgres";

/// The passwords of this process: clusters that stand in for each other have the same.
pub(crate) static PASSWORDS: LazyLock<Passwords> = LazyLock::new(|| Passwords {
    superuser: password(),
    role: password(),
});

pub(crate) struct Passwords {
    pub(crate) superuser: String,
    pub(crate) role: String,
}

static TEMPLATE: LazyLock<PathBuf> = LazyLock::new(make);

/// Makes a copy of it: the folder is there, and empty.
pub(crate) fn copy_into(data: &Path) {
    copy(&TEMPLATE, data);
}

/// Copies a data directory into a folder that is there.
pub(crate) fn copy(from: &Path, data: &Path) {
    let mut cp = INSTALLED.command(Path::new("cp"), from);
    succeed(cp.args(["--archive", "."]).arg(data), "");
}

fn make() -> PathBuf {
    let folder = folder::make();
    let data = folder.join("template");
    let password = folder.join("password");
    std::fs::write(&password, &PASSWORDS.superuser).unwrap();
    let mut initdb = INSTALLED.command(&INSTALLED.program("initdb"), &folder);
    initdb.arg("--pgdata").arg(&data);
    initdb
        .args(["--username", SUPERUSER, "--pwfile"])
        .arg(password);
    // What is copied need not be durable; what the copies write is.
    initdb.args([
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]);
    succeed(&mut initdb, "");
    let mut alone = INSTALLED.command(&INSTALLED.program("postgres"), &folder);
    alone
        .arg("--single")
        .arg("-D")
        .arg(&data)
        .args(["-F", "-j", SUPERUSER]);
    succeed(&mut alone, &statements());
    data
}

/// What each cluster has. Two ends of line end a statement.
fn statements() -> String {
    let mut text = String::new();
    let password = &PASSWORDS.role;
    writeln!(text, "create role {ROLE} login password '{password}';\n").unwrap();
    writeln!(text, "create database {DATABASE} owner {ROLE};\n").unwrap();
    text
}

/// Runs a program of which nothing but success is of use.
pub(crate) fn succeed(command: &mut Command, input: &str) {
    let output = crate::psql::output(command.stdout(Stdio::piped()), input);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{told}",
        output.status
    );
}

fn password() -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(24)
        .collect()
}
