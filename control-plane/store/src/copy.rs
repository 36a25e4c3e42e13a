//! A state that moves from the data directory to a database, and back.
//!
//! Everything is copied as of one commit, with the places that it has, and read again: entry by entry
//! it is the same. The copy that is left behind is marked, so that nothing starts from it by mistake:
//! the file is renamed, and the database names where its state went.

use std::path::PathBuf;

use countersign_model::Seq;

use crate::postgres::{self, Address};
use crate::{DATABASE, DataDir, Entry, Kind, MOVED, Snapshot, StoreError, sqlite};

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The newest commit of both.
    pub seq: Seq,
    /// How many entries there are.
    pub entries: usize,
    /// Where the file of the state is now, where it was one.
    pub set_aside: Option<PathBuf>,
}

/// Why nothing was copied, or what was is not used.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source or the target.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to copy.
    #[error("there is no state")]
    NoState,
    /// What is there would be lost.
    #[error("there is a state already")]
    NotEmpty,
    /// The copy is not the same.
    #[error("the copy differs from what was copied at {0}; nothing was set aside")]
    Differs(String),
    /// A file of the data directory.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// Copies the state of a data directory into an empty database, and sets its file aside.
///
/// # Errors
/// As [`CopyError`] says; the state in the data directory is as it was.
pub async fn to_database(dir: &DataDir, address: &Address) -> Result<Copied, CopyError> {
    let file = dir.path().join(DATABASE);
    if !file.exists() {
        return Err(CopyError::NoState);
    }
    let source = sqlite::look(&file).await?;
    let is_written = postgres::write_copy(address, &source).await?;
    let copy = postgres::look(address).await?.ok_or(CopyError::NoState)?;
    let copied = match same(&source, &copy) {
        // Also of an earlier copy that was cut short before its last step.
        Ok(copied) => copied,
        Err(_) if !is_written => return Err(CopyError::NotEmpty),
        Err(differs) => return Err(differs),
    };
    let aside = file.with_extension(format!("db.copied-{}", source.seq.0));
    let renamed = sqlite::rename(&file, &aside);
    renamed.map_err(|error| CopyError::Io { path: file, error })?;
    Ok(Copied {
        set_aside: Some(aside),
        ..copied
    })
}

/// Copies the state of a database into a data directory that has none, and marks the database.
///
/// # Errors
/// As [`CopyError`] says; the state in the database is as it was.
pub async fn to_files(address: &Address, dir: &DataDir) -> Result<Copied, CopyError> {
    let file = dir.path().join(DATABASE);
    if file.exists() {
        return Err(CopyError::NotEmpty);
    }
    // Under another name until it is known to be the same.
    let draft = file.with_extension("db.copying");
    let failed = |error| CopyError::Io {
        path: draft.clone(),
        error,
    };
    let here = std::fs::canonicalize(dir.path()).map_err(failed)?;
    let here = here.display().to_string();
    let source = postgres::look(address).await?.ok_or(CopyError::NoState)?;
    match moved_to(&source) {
        // It was cut short after everything but its last step.
        Some(there) if there == here && draft.exists() => {
            let copied = same(&before_it_moved(source), &sqlite::look(&draft).await?)?;
            sqlite::rename(&draft, &file).map_err(failed)?;
            return Ok(copied);
        }
        Some(_) => return Err(CopyError::NoState),
        None if source.entries.is_empty() => return Err(CopyError::NoState),
        None => {}
    }
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => dir.touch(&draft).map_err(failed)?,
    }
    sqlite::write_copy(&draft, &source).await?;
    let copy = sqlite::look(&draft).await?;
    let copied = same(&source, &copy)?;
    postgres::mark_moved(address, &source, &here).await?;
    sqlite::rename(&draft, &file).map_err(failed)?;
    Ok(copied)
}

/// What was copied of a database that was marked afterwards.
fn before_it_moved(marked: Snapshot) -> Snapshot {
    let is_mark = |entry: &Entry| entry.kind == Kind::Meta && entry.key == MOVED;
    let entries = marked.entries.into_iter();
    Snapshot {
        seq: Seq(marked.seq.0.saturating_sub(1)),
        entries: entries.filter(|entry| !is_mark(entry)).collect(),
        level: marked.level,
    }
}

/// Where the state of a database was moved to.
pub fn moved_to(found: &Snapshot) -> Option<String> {
    let mut facts = found
        .entries
        .iter()
        .filter(|entry| entry.kind == Kind::Meta);
    facts.find(|entry| entry.key == MOVED)?.read().ok()
}

/// Compares entry by entry.
fn same(source: &Snapshot, copy: &Snapshot) -> Result<Copied, CopyError> {
    let (left, right) = (sorted(source), sorted(copy));
    let pairs = left.iter().zip(&right);
    let differing = pairs
        .filter(|(one, other)| one != other)
        .map(|(one, _)| one);
    let missing = left.get(right.len()).or(right.get(left.len()));
    if let Some((kind, key, ..)) = differing.chain(missing).next() {
        return Err(CopyError::Differs(format!("{kind} {key}")));
    }
    if source.seq != copy.seq {
        return Err(CopyError::Differs("the newest commit".to_owned()));
    }
    Ok(same_of(copy))
}

fn same_of(copy: &Snapshot) -> Copied {
    Copied {
        seq: copy.seq,
        entries: copy.entries.len(),
        set_aside: None,
    }
}

fn sorted(snapshot: &Snapshot) -> Vec<(&str, &str, &str, Seq)> {
    let of = |entry: &'_ Entry| (entry.kind.as_str(), entry.key.clone());
    let mut entries: Vec<_> = snapshot.entries.iter().collect();
    entries.sort_by_key(|entry| of(entry));
    let parts = entries.into_iter();
    parts
        .map(|it| (it.kind.as_str(), it.key.as_str(), it.value.as_str(), it.seq))
        .collect()
}

#[cfg(test)]
mod tests;
