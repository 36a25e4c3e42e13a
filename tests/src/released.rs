//! The newest release, as programs: what runs beside this version while a fleet is upgraded.
//!
//! Its sources come from the history of the repository, by the commit that `tests/upgrade/RELEASED` names. It is
//! built once for a target folder, by its own lock file, in a target folder of its own: the libraries that it
//! shares with this build are linked from there, not compiled again. The crates that its lock file names were
//! fetched by `tests/upgrade/fetch.sh`, so that no test needs a network.

mod history;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::binaries::{self, Programs, project};

/// Names the release.
const RELEASED: &str = "tests/upgrade/RELEASED";
/// What is built of it.
const PROGRAMS: [&str; 3] = [
    "countersign",
    "countersign-control-plane",
    "countersign-sidecar",
];
/// What a build leaves for the next one.
const LEFT: [&str; 3] = [".fingerprint", "build", "deps"];

/// Its programs, built where they were not.
///
/// # Errors
/// The history lacks its commit, or it does not build.
pub async fn programs() -> Result<Programs> {
    tokio::task::spawn_blocking(built).await?
}

/// What names the release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its commit.
    pub commit: String,
    /// The level that it speaks.
    pub level: i64,
}

/// The release.
///
/// # Errors
/// The file does not name one.
pub fn named() -> Result<Release> {
    let text = fs::read_to_string(project().join(RELEASED)).context(RELEASED)?;
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let line = lines.next().unwrap_or_default();
    let read = || {
        let [_, commit, level] = *line.split_whitespace().collect::<Vec<_>>() else {
            return None;
        };
        let is_commit = commit.len() == 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
        let commit = is_commit.then(|| commit.to_owned())?;
        let level = level.parse().ok()?;
        Some(Release { commit, level })
    };
    read().with_context(|| {
        format!("{RELEASED} names a version, a commit of 40 digits and a level, not {line:?}")
    })
}

fn built() -> Result<Programs> {
    let commit = named()?.commit;
    let debug = binaries::folder()?;
    let folder = debug.join("released").join(&commit);
    fs::create_dir_all(&folder)?;
    // One of the tests that ask at once builds it.
    let lock = File::create(folder.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let programs = folder.join("programs");
    if !programs.exists() {
        let draft = folder.join("draft");
        // Of a build that was cut short.
        remove(&draft)?;
        build(&commit, &debug, &draft)?;
        fs::rename(draft.join("programs"), &programs)?;
        remove(&draft)?;
    }
    Ok(Programs::In(programs))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn build(commit: &str, debug: &Path, draft: &Path) -> Result<()> {
    let (source, target) = (draft.join("source"), draft.join("target"));
    fs::create_dir_all(&source)?;
    unpack(project(), commit, &source)?;
    link_libraries(debug, &target.join("debug"))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The workspace as a whole decides the features of its libraries.
    let mut build = Command::new(cargo);
    let programs = PROGRAMS.iter().flat_map(|it| ["--bin", it]);
    build
        .args(["build", "--locked", "--workspace"])
        .args(programs)
        // No test looks into it with a debugger.
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "false");
    run(&mut build).with_context(|| format!("the release {commit} does not build"))?;
    let programs = draft.join("programs");
    fs::create_dir(&programs)?;
    for name in PROGRAMS {
        fs::copy(target.join("debug").join(name), programs.join(name))?;
    }
    Ok(())
}

/// Takes the sources out of the history.
fn unpack(project: &Path, commit: &str, into: &Path) -> Result<()> {
    history::has(project, commit)?;
    let archive = into.with_extension("tar");
    let output = format!("--output={}", archive.display());
    run(history::git(project).args(["archive", &output, commit]))?;
    let mut tar = Command::new("tar");
    run(tar.arg("-xf").arg(&archive).arg("-C").arg(into)).map(drop)
}

/// Gives a build what this one compiled of others' crates. Nothing of it is written in place: cargo replaces a
/// library that it makes again.
fn link_libraries(from: &Path, to: &Path) -> Result<()> {
    for folder in LEFT {
        link_all(&from.join(folder), &to.join(folder))?;
    }
    Ok(())
}

fn link_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if is_ours(&name) {
            continue;
        }
        let to = to.join(&name);
        let is_folder = entry.file_type()?.is_dir();
        match is_folder {
            true => link_all(&path, &to)?,
            // What tells whether something is fresh is written in place.
            false if is_library(&path) => fs::hard_link(&path, &to)?,
            false => copy(&path, &to)?,
        }
    }
    Ok(())
}

/// With the time at which it was changed, by which cargo tells what is fresh.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)?;
    let changed = fs::metadata(from)?.modified()?;
    let to = File::options().write(true).open(to)?;
    Ok(to.set_modified(changed)?)
}

/// Ours differ between the two, and objects of programs are of no use.
fn is_ours(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let is_object = name.ends_with(b".o") || name.ends_with(b".dwo");
    name.starts_with(b"countersign") || name.starts_with(b"libcountersign") || is_object
}

fn is_library(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    matches!(extension, Some("rlib" | "rmeta" | "so" | "a"))
}

/// Runs it to its end: what it told. What it complained of is in the error.
fn run(command: &mut Command) -> Result<String> {
    let program = PathBuf::from(command.get_program());
    let ended = command.stdin(Stdio::null()).output();
    let ended = ended.with_context(|| format!("cannot start {}", program.display()))?;
    let complaint = String::from_utf8_lossy(&ended.stderr);
    ensure!(
        ended.status.success(),
        "{} ended, {}\n{complaint}",
        program.display(),
        ended.status
    );
    Ok(String::from_utf8_lossy(&ended.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_named_by_its_commit() {
        named().unwrap();
    }
}
