//! Writing a backup, as a stream.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::manifest::Sum;
use super::{FILE_MODE, MANIFEST, MAX_FILES, Manifest};

/// A backup that is being written.
pub struct Pack<W: Write> {
    tar: Builder<W>,
    files: BTreeMap<String, Sum>,
}

impl<W: Write> Pack<W> {
    /// A backup without a member yet, written to `out`.
    pub fn new(out: W) -> Self {
        Self {
            tar: Builder::new(out),
            files: BTreeMap::new(),
        }
    }

    /// Adds a file, up to a length where one is given: what was appended to it since is left out.
    pub fn file(&mut self, from: &Path, name: &str, length: Option<u64>) -> io::Result<()> {
        let file = File::open(from)?;
        let length = match length {
            Some(length) => length,
            None => file.metadata()?.len(),
        };
        self.member(name, length, file.take(length))
    }

    /// Adds bytes as a file.
    pub fn bytes(&mut self, bytes: &[u8], name: &str) -> io::Result<()> {
        self.member(name, bytes.len() as u64, bytes)
    }

    /// Adds what is in a folder, each file up to its `length`.
    pub fn folder(
        &mut self,
        from: &Path,
        name: &str,
        length: &impl Fn(&Path) -> Option<u64>,
    ) -> io::Result<()> {
        let mut children = fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            let (path, kind) = (child.path(), child.file_type()?);
            let Ok(own) = child.file_name().into_string() else {
                continue;
            };
            let name = format!("{name}/{own}");
            if kind.is_dir() {
                self.folder(&path, &name, length)?;
            } else if kind.is_file() {
                self.file(&path, &name, length(&path))?;
            }
        }
        Ok(())
    }

    /// How many files are in it.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Adds the manifest, which makes it whole.
    pub fn finish(mut self, manifest: Manifest) -> io::Result<W> {
        let files = std::mem::take(&mut self.files);
        let manifest = Manifest { files, ..manifest };
        let text = serde_json::to_vec(&manifest).expect("our own shapes serialise");
        self.member(MANIFEST, text.len() as u64, text.as_slice())?;
        let mut out = self.tar.into_inner()?;
        out.flush()?;
        Ok(out)
    }

    fn member(&mut self, name: &str, length: u64, from: impl Read) -> io::Result<()> {
        if self.files.len() >= MAX_FILES {
            return Err(io::Error::other("too many files for one backup"));
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(FILE_MODE);
        header.set_size(length);
        let mut hashing = Hashing::new(from);
        self.tar.append_data(&mut header, name, &mut hashing)?;
        let sum = hashing.sum();
        if sum.length != length {
            return Err(io::Error::other(format!("{name} shrank meanwhile")));
        }
        self.files.insert(name.to_owned(), sum);
        Ok(())
    }
}

/// A reader that keeps the sum of what went through it.
pub(crate) struct Hashing<R> {
    from: R,
    hash: Sha256,
    length: u64,
}

impl<R> Hashing<R> {
    pub(crate) fn new(from: R) -> Self {
        Self {
            from,
            hash: Sha256::new(),
            length: 0,
        }
    }

    pub(crate) fn sum(self) -> Sum {
        Sum {
            length: self.length,
            sha256: hex::encode(self.hash.finalize()),
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.length += read as u64;
        Ok(read)
    }
}
