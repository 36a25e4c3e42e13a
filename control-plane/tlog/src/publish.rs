//! From the journal to what everybody can check: tiles and bundles are made durable first, then
//! the checkpoint that covers them is replaced, then what it made superfluous is removed. A crash
//! between any two steps leaves files that the next publication writes again, byte for byte.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::journal::Tail;
use crate::key::NoteKey;
use crate::note::{Checkpoint, MAX_NOTE_BYTES, NoteError};
use crate::tile::{Written, bundle_path, read_tile, tile_path};
use crate::tree::{RightEdge, leaf_hash, partials};
use crate::{Hash, LogError, TILE_WIDTH, bundle, files};

/// A checkpoint is kept for good at the first publication after an open, and at most this often.
const KEEP_EVERY: SignedDuration = SignedDuration::from_hours(1);
pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const KEPT: &str = "checkpoints";
pub(crate) const VERIFIER_KEY: &str = "key.vkey";

/// Where the entries are that are published.
pub(crate) trait Source {
    /// The entries from an index on, up to `end` or fewer; `None` where it does not hold that index.
    fn read(&self, from: u64, end: u64) -> Result<Option<Vec<Arc<[u8]>>>, LogError>;
}

impl Source for Tail {
    fn read(&self, from: u64, end: u64) -> Result<Option<Vec<Arc<[u8]>>>, LogError> {
        Self::read(self, from, end)
    }
}

/// The published part of the log.
#[derive(Debug)]
pub(crate) struct Publisher {
    folder: PathBuf,
    key: NoteKey,
    edge: RightEdge,
    kept: Option<Timestamp>,
}

impl Publisher {
    /// Reads the newest checkpoint and the tiles at its right edge.
    pub(crate) fn open(folder: &Path, key: NoteKey) -> Result<Self, LogError> {
        for name in [KEPT, "tile"] {
            let path = folder.join(name);
            files::make_dir(&path).map_err(LogError::refused(&path))?;
        }
        let checkpoint = newest(folder, &key)?;
        let edge = match &checkpoint {
            None => RightEdge::default(),
            Some(checkpoint) => load(folder, checkpoint)?,
        };
        let vkey = folder.join(VERIFIER_KEY);
        let line = format!("{}\n", key.verifier_key());
        if files::read(&vkey, MAX_NOTE_BYTES).ok().flatten().as_deref() != Some(line.as_bytes()) {
            files::write_atomically(&vkey, line.as_bytes())?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            key,
            edge,
            kept: None,
        })
    }

    /// How many entries the newest checkpoint covers.
    pub(crate) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root hash of the newest checkpoint.
    pub(crate) fn root(&self) -> Hash {
        self.edge.root()
    }

    /// The folder of the log.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn verifier_key(&self) -> String {
        self.key.verifier_key()
    }

    /// The entries of the journal that the checkpoint covers are those that its tiles hold.
    pub(crate) fn check_journal(&self, tail: &Tail) -> Result<(), LogError> {
        let first = tail.first().unwrap_or(self.size());
        match self.contradicted(tail, first)? {
            None => Ok(()),
            Some(tile) => Err(LogError::damaged(&tile, "contradicts the journal")),
        }
    }

    /// The tile that holds another entry than `source`, from the first of a bundle on.
    pub(crate) fn contradicted(
        &self,
        source: &impl Source,
        mut index: u64,
    ) -> Result<Option<PathBuf>, LogError> {
        while index < self.size() {
            let number = index / TILE_WIDTH;
            let width = TILE_WIDTH.min(self.size() - index);
            let hashes = read_tile(&self.folder, 0, number, width)?;
            let entries = source.read(index, index + width)?.unwrap_or_default();
            let leaves = entries.iter().map(|entry| leaf_hash(entry));
            if !leaves.eq(hashes) {
                return Ok(Some(self.folder.join(tile_path(0, number, width))));
            }
            index += width;
        }
        Ok(None)
    }

    /// Publishes everything below `durable`.
    pub(crate) fn publish(
        &mut self,
        tail: &Tail,
        durable: u64,
        now: Timestamp,
    ) -> Result<(), LogError> {
        if durable <= self.size() {
            return Ok(());
        }
        let before = self.size();
        self.cover(tail, durable)?;
        let due = |kept| now.duration_since(kept) >= KEEP_EVERY;
        if self.kept.is_none_or(due) {
            self.keep()?;
            self.kept = Some(now);
        }
        self.remove_superseded(tail, before)
    }

    /// Publishes everything below `durable` on the way to a longer log: no checkpoint is kept for
    /// good.
    pub(crate) fn catch_up(&mut self, tail: &Tail, durable: u64) -> Result<(), LogError> {
        let before = self.size();
        self.cover(tail, durable)?;
        self.remove_superseded(tail, before)
    }

    /// Goes on with the entries below `end` from somewhere else than a journal. No checkpoint is kept
    /// for good.
    pub(crate) fn go_on(&mut self, source: &impl Source, end: u64) -> Result<(), LogError> {
        let before = self.size();
        self.cover(source, end)?;
        remove_files(self.superseded(before))
    }

    /// Keeps the newest checkpoint for good.
    pub(crate) fn keep(&self) -> Result<(), LogError> {
        let name = Path::new(KEPT).join(self.size().to_string());
        self.place(&name, &self.note(&self.edge))
    }

    /// Writes the tiles and replaces the checkpoint.
    fn cover(&mut self, source: &impl Source, end: u64) -> Result<(), LogError> {
        let edge = self.write_tiles(source, end)?;
        self.place(Path::new(CHECKPOINT), &self.note(&edge))?;
        self.edge = edge;
        Ok(())
    }

    /// The checkpoint of a tree. Ed25519 signs the same text alike each time.
    fn note(&self, edge: &RightEdge) -> String {
        let checkpoint = Checkpoint {
            origin: self.key.name().to_owned(),
            size: edge.size(),
            root: edge.root(),
        };
        checkpoint.sign(&self.key)
    }

    fn write_tiles(&self, source: &impl Source, durable: u64) -> Result<RightEdge, LogError> {
        let (mut edge, mut full) = (self.edge.clone(), Vec::new());
        let mut written = Written::new(&self.folder);
        while edge.size() < durable {
            let number = edge.size() / TILE_WIDTH;
            let start = number * TILE_WIDTH;
            let end = durable.min(start + TILE_WIDTH);
            let entries = self.sourced(source, start, end)?;
            written.bundle(number, end - start, &bundle::encode(&entries))?;
            let new = usize::try_from(edge.size() - start).expect("a bundle has 256 entries");
            for entry in &entries[new..] {
                edge.push(leaf_hash(entry), &mut full);
            }
            for tile in full.drain(..) {
                written.tile(tile.level, tile.number, &tile.hashes)?;
            }
        }
        for tile in partials(durable) {
            if !partials(self.size()).any(|there| there == tile) {
                written.tile(tile.level, tile.number, edge.level(tile.level))?;
            }
        }
        written.sync()?;
        Ok(edge)
    }

    fn sourced(
        &self,
        source: &impl Source,
        start: u64,
        end: u64,
    ) -> Result<Vec<Arc<[u8]>>, LogError> {
        let entries = source.read(start, end)?.unwrap_or_default();
        if entries.len() as u64 == end - start {
            return Ok(entries);
        }
        let what = format!("entry {start} is not in the journal");
        Err(LogError::damaged(&self.folder, &what))
    }

    fn place(&self, name: &Path, note: &str) -> Result<(), LogError> {
        files::write_atomically(&self.folder.join(name), note.as_bytes())
    }

    fn remove_superseded(&self, tail: &Tail, before: u64) -> Result<(), LogError> {
        let full = self.size() - self.size() % TILE_WIDTH;
        let segments = tail.forget(full).into_iter();
        remove_files(segments.chain(self.superseded(before)))
    }

    /// The files of the right edge at a size that are not of the newest.
    fn superseded(&self, before: u64) -> impl Iterator<Item = PathBuf> {
        let old = partials(before).filter(|old| partials(self.size()).all(|new| new != *old));
        let tiles = old.map(|old| tile_path(old.level, old.number, old.width));
        let (number, width) = (before / TILE_WIDTH, before % TILE_WIDTH);
        let bundle = (width > 0).then(|| bundle_path(number, width));
        tiles.chain(bundle).map(|path| self.folder.join(path))
    }
}

fn remove_files(paths: impl Iterator<Item = PathBuf>) -> Result<(), LogError> {
    for path in paths {
        files::remove(&path).map_err(LogError::refused(&path))?;
        // The folder of partial tiles goes with its last file; otherwise it is not empty.
        let partial = path.parent().filter(|folder| folder.extension().is_some());
        let _ = partial.map(fs::remove_dir);
    }
    Ok(())
}

fn newest(folder: &Path, key: &NoteKey) -> Result<Option<Checkpoint>, LogError> {
    let path = folder.join(CHECKPOINT);
    let note = files::read(&path, MAX_NOTE_BYTES).map_err(LogError::unreadable(&path))?;
    let Some(note) = note else {
        return nothing_kept(folder).map(|()| None);
    };
    match Checkpoint::open(&note, key) {
        Ok(checkpoint) => Ok(Some(checkpoint)),
        Err(NoteError::Foreign) => Err(LogError::Foreign(format!(
            "{} is not signed by {}",
            path.display(),
            key.verifier_key()
        ))),
        Err(NoteError::Malformed) => Err(LogError::damaged(&path, "is no checkpoint")),
        Err(NoteError::BadSignature) => Err(LogError::damaged(&path, "its signature is not good")),
    }
}

/// A log without a checkpoint never had one.
fn nothing_kept(folder: &Path) -> Result<(), LogError> {
    let path = folder.join(KEPT);
    let mut kept = fs::read_dir(&path).map_err(LogError::unreadable(&path))?;
    match kept.next() {
        None => Ok(()),
        Some(_) => Err(LogError::damaged(&folder.join(CHECKPOINT), "is missing")),
    }
}

/// The right edge that a checkpoint covers, where its tiles have that root.
pub(crate) fn load(folder: &Path, checkpoint: &Checkpoint) -> Result<RightEdge, LogError> {
    let edge = RightEdge::load(checkpoint.size, |tile| {
        read_tile(folder, tile.level, tile.number, tile.width)
    })?;
    if edge.root() == checkpoint.root {
        return Ok(edge);
    }
    let names: Vec<String> = partials(checkpoint.size)
        .map(|tile| tile_path(tile.level, tile.number, tile.width))
        .map(|path| path.display().to_string())
        .collect();
    let what = format!("is not the root of {}", names.join(", "));
    Err(LogError::damaged(&folder.join(CHECKPOINT), &what))
}
