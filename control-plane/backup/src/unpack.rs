//! Reading a backup into an empty folder. Nothing of it is believed before the manifest agrees.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path};

use tar::{Archive, EntryType};

use super::manifest::Sum;
use super::pack::Hashing;
use super::{FILE_MODE, FORMAT, MANIFEST, MAX_FILES, MAX_MANIFEST_BYTES, Manifest};

const DIR_MODE: u32 = 0o700;
/// What a member may be, or be in.
const ROOTS: [&str; 3] = ["state.db", "log", "keys"];

/// Why a backup is not restored.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be read, or its content not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// Another version wrote it.
    #[error("the backup has format {0}, this program reads format {FORMAT}")]
    Format(u32),
}

/// Writes every member below `to`, and gives the manifest that all of them agree with.
///
/// # Errors
/// What is below `to` then is not to be used.
pub fn unpack(from: impl Read, to: &Path) -> Result<Manifest, UnpackError> {
    let mut files = BTreeMap::new();
    let mut manifest = None;
    for member in Archive::new(from).entries()? {
        let member = member?;
        let name = name_of(&member)?;
        if manifest.is_some() {
            return Err(damaged("something follows its manifest"));
        }
        if name == MANIFEST {
            manifest = Some(read_manifest(member)?);
            continue;
        }
        if files.len() >= MAX_FILES || files.contains_key(&name) {
            return Err(damaged("too many files, or one of them twice"));
        }
        files.insert(name.clone(), place(member, &to.join(&name))?);
    }
    let manifest = manifest.ok_or_else(|| damaged("it has no manifest: it was cut off"))?;
    agree(&manifest, &files)?;
    Ok(manifest)
}

fn damaged(what: impl Into<String>) -> UnpackError {
    UnpackError::Damaged(what.into())
}

/// The path of a member, where it stays below the folder and is one that we write.
fn name_of<R: Read>(member: &tar::Entry<'_, R>) -> Result<String, UnpackError> {
    let path = member.path()?;
    let odd = || damaged(format!("{:?} is no file of a backup", path));
    if member.header().entry_type() != EntryType::Regular {
        return Err(odd());
    }
    let parts = path.components().map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    let parts = parts.collect::<Option<Vec<_>>>().ok_or_else(odd)?;
    let known = match *parts.as_slice() {
        [MANIFEST] => true,
        [root, ..] => ROOTS.contains(&root),
        [] => false,
    };
    let name = parts.join("/");
    if known { Ok(name) } else { Err(odd()) }
}

fn read_manifest(member: impl Read) -> Result<Manifest, UnpackError> {
    let mut text = Vec::new();
    member.take(MAX_MANIFEST_BYTES).read_to_end(&mut text)?;
    // Of another format nothing else needs to read.
    let versioned = serde_json::from_slice::<serde_json::Value>(&text).ok();
    let format = versioned.and_then(|value| value["format"].as_u64());
    match format.and_then(|format| u32::try_from(format).ok()) {
        Some(FORMAT) => {}
        Some(other) => return Err(UnpackError::Format(other)),
        None => return Err(damaged("its manifest does not read")),
    }
    serde_json::from_slice(&text).map_err(|_| damaged("its manifest does not read"))
}

fn place(member: impl Read, path: &Path) -> io::Result<Sum> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(folder)?;
    }
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)?;
    let mut hashing = Hashing::new(member);
    io::copy(&mut hashing, &mut file)?;
    Ok(hashing.sum())
}

fn agree(manifest: &Manifest, files: &BTreeMap<String, Sum>) -> Result<(), UnpackError> {
    for (name, sum) in &manifest.files {
        if files.get(name) != Some(sum) {
            return Err(damaged(format!("{name:?} is not what was written")));
        }
    }
    match files
        .keys()
        .find(|name| !manifest.files.contains_key(*name))
    {
        Some(name) => Err(damaged(format!("{name:?} is not in its manifest"))),
        None => Ok(()),
    }
}
