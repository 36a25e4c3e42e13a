//! Finds our own programs for tests that run them. Cargo builds those of its own package for an
//! integration test, and no others: so one that is missing, or older than its source, is an error that
//! says what to do, and never a test that passes by it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

/// Why a program is not run.
#[derive(Debug, thiserror::Error)]
pub enum NoProgram {
    /// It was not built.
    #[error("no program {name} near {}: {BUILD}", here.display())]
    Missing {
        /// What it is called.
        name: String,
        /// The executable that asks.
        here: PathBuf,
    },
    /// Its source was changed since.
    #[error("{} is newer than {}: {BUILD}", source_file.display(), program.display())]
    Old {
        /// The program.
        program: PathBuf,
        /// The first file of its source that is newer.
        source_file: PathBuf,
    },
    /// Something could not be read.
    #[error("the programs are not found: {0}")]
    Io(#[from] io::Error),
}

/// What mends it.
const BUILD: &str = "run `cargo build --workspace --bins`, or `make test`";

/// One of our own programs, such as `countersign`: beside the executable that asks, or in the folder
/// above.
///
/// # Errors
/// It was not built, or before its source was last changed.
pub fn find(name: &str) -> Result<PathBuf, NoProgram> {
    let here = std::env::current_exe()?;
    let folders = here.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join(name));
    let Some(program) = candidates.find(|path| path.is_file()) else {
        let name = name.to_owned();
        return Err(NoProgram::Missing { name, here });
    };
    match newer_source(&program)? {
        None => Ok(program),
        Some(source_file) => Err(NoProgram::Old {
            program,
            source_file,
        }),
    }
}

/// The first file that a program is built from and that was changed since; none where nothing tells
/// what those are.
fn newer_source(program: &Path) -> io::Result<Option<PathBuf>> {
    let built = fs::metadata(program)?.modified()?;
    // What cargo leaves beside a program: its path, a colon, and what it is built from.
    let listed = match fs::read_to_string(program.with_added_extension("d")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        listed => listed?,
    };
    let (_, files) = listed.split_once(": ").unwrap_or_default();
    let is_newer = |path: &PathBuf| changed(path).is_some_and(|changed| changed > built);
    Ok(paths(files).into_iter().find(is_newer))
}

/// When a file was changed; nothing of one that is gone, as of a generated one.
fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// Paths as a makefile has them: apart by spaces, those within one behind a backslash.
fn paths(text: &str) -> Vec<PathBuf> {
    let apart = text.replace("\\ ", "\0");
    let paths = apart.split_whitespace();
    paths.map(|path| path.replace('\0', " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn program_older_than_its_source_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let [program, old, new] = ["program", "old source", "new.rs"].map(|name| {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            path
        });
        let listed = |source: &Path| source.display().to_string().replace(' ', "\\ ");
        let text = format!("{}: {} {}\n", program.display(), listed(&old), listed(&new));
        assert_eq!(newer_source(&program).unwrap(), None, "nothing is told");
        fs::write(folder.path().join("program.d"), text).unwrap();
        let set = |path: &Path, secs| {
            let file = fs::File::options().write(true).open(path).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
            file.set_modified(at).unwrap();
        };
        set(&program, 5);
        set(&old, 4);
        set(&new, 5);
        assert_eq!(newer_source(&program).unwrap(), None);
        set(&old, 6);
        assert_eq!(newer_source(&program).unwrap(), Some(old));
    }

    #[test]
    fn missing_program_is_an_error() {
        let missing = find("no-such-program").unwrap_err();
        assert!(missing.to_string().contains("cargo build"), "{missing}");
    }
}
