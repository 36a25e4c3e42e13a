//! Reading a backup into an empty folder. Nothing of it is believed before the manifest agrees.

use std::collections::BTreeMap;
use std::error::Error;
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
/// Length of a block of a tar archive, where its magic begins and how long a name is (POSIX pax, ustar).
const BLOCK: usize = 512;
const MAGIC: &[u8] = b"ustar";
const MAGIC_AT: usize = 257;
const NAME_LENGTH: usize = 100;

/// Why a backup is not restored.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be read, or its content not be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something else than a backup of a control plane.
    #[error("it is not a backup: {0}")]
    NotABackup(&'static str),
    /// It is not what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// Another version wrote it.
    #[error("the backup has format {0}, this program reads format {FORMAT}")]
    Format(u32),
}

/// Whether a file that begins so may be a backup: a tar archive whose first member is one of ours.
pub fn begins_as_backup(head: &[u8]) -> bool {
    first_block(head).is_ok()
}

fn first_block(head: &[u8]) -> Result<(), UnpackError> {
    let is_archive = head.len() >= BLOCK && head[MAGIC_AT..].starts_with(MAGIC);
    if !is_archive {
        return Err(UnpackError::NotABackup("it is no tar archive"));
    }
    let name = head[..NAME_LENGTH].split(|byte| *byte == 0).next();
    let first = name.and_then(|name| name.split(|byte| *byte == b'/').next());
    let is_ours =
        |first: &[u8]| first == MANIFEST.as_bytes() || ROOTS.map(str::as_bytes).contains(&first);
    match first {
        Some(first) if is_ours(first) => Ok(()),
        _ => Err(UnpackError::NotABackup(
            "its first member is none of a control plane's",
        )),
    }
}

/// Writes every member below `to`, and gives the manifest that all of them agree with.
///
/// # Errors
/// What is below `to` then is not to be used.
pub fn unpack(mut from: impl Read, to: &Path) -> Result<Manifest, UnpackError> {
    let mut head = Vec::with_capacity(BLOCK);
    from.by_ref().take(BLOCK as u64).read_to_end(&mut head)?;
    first_block(&head)?;
    let from = io::Cursor::new(head).chain(from);
    let mut files = BTreeMap::new();
    let mut manifest = None;
    for member in Archive::new(from).entries().map_err(unread)? {
        let member = member.map_err(unread)?;
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
        let sum = place(member, &to.join(&name)).map_err(unread)?;
        files.insert(name, sum);
    }
    let manifest = manifest.ok_or_else(|| damaged("it has no manifest: it was cut off"))?;
    agree(&manifest, &files)?;
    Ok(manifest)
}

/// What the reader of the archive says of its bytes is for nobody to read: they may hold anything. An error
/// of the kernel is told.
fn unread(error: io::Error) -> UnpackError {
    if is_of_the_kernel(&error) {
        UnpackError::Io(error)
    } else {
        damaged("it is no whole tar archive")
    }
}

/// The reader wraps what the kernel said.
fn is_of_the_kernel(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.raw_os_error().is_some()) {
            return true;
        }
        cause = match io.and_then(io::Error::get_ref) {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    false
}

fn damaged(what: impl Into<String>) -> UnpackError {
    UnpackError::Damaged(what.into())
}

/// The path of a member, where it stays below the folder and is one that we write.
fn name_of<R: Read>(member: &tar::Entry<'_, R>) -> Result<String, UnpackError> {
    let path = member.path().map_err(unread)?;
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
    let read = member.take(MAX_MANIFEST_BYTES).read_to_end(&mut text);
    read.map_err(unread)?;
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
