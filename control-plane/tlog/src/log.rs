//! The log: what its owner calls.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use jiff::Timestamp;

use crate::append::{Appended, Intake};
use crate::appender::Appender;
use crate::archive::{self, Archive};
use crate::attachments::Attachments;
use crate::journal::{self, Disk, JournalStore, Tail, Writer, replay};
use crate::key::NoteKey;
use crate::publish::Publisher;
use crate::read::{Scan, chunk};
use crate::snapshot::{Linking, Snapshot};
use crate::{AppendError, LogError, TILE_WIDTH, files, prune};

/// Where a log lives and what it is called.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of tiles, bundles, checkpoints and journal. Made where it is missing.
    pub dir: PathBuf,
    /// The signed-note key file (made where it is missing, 0600).
    pub key: PathBuf,
    /// First line of every checkpoint and name of the key: no spaces and no plus.
    pub origin: String,
}

/// The log. Dropping it writes what waits and ends its thread.
#[derive(Debug)]
pub struct Log {
    parts: Arc<Parts>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Parts {
    folder: PathBuf,
    intake: Arc<Intake>,
    tail: Arc<Tail>,
    attachments: Attachments,
    publisher: Mutex<Publisher>,
    published: AtomicU64,
    retained: AtomicU64,
}

impl Log {
    /// Opens or makes a log, and finishes what a crash interrupted. One process at a time: its
    /// owner sees to that.
    ///
    /// # Errors
    /// The folder cannot be used, or holds something else than was written.
    pub fn open(options: &Options) -> Result<Self, LogError> {
        Self::open_on(options, None, |disk| disk)
    }

    /// Opens or makes a log whose entries are in an archive before its journal has them, and appends
    /// to the journal what the archive has beyond it. Blocks on the archive.
    ///
    /// # Errors
    /// As [`Log::open`]; or the archive cannot be read, is that of another log, or has less than the
    /// journal.
    pub fn open_with(options: &Options, archive: Box<dyn Archive>) -> Result<Self, LogError> {
        Self::open_on(options, Some(archive), |disk| disk)
    }

    /// Opens a log whose journal is written through what `through` makes of the disk.
    pub(crate) fn open_on<S: JournalStore>(
        options: &Options,
        mut archive: Option<Box<dyn Archive>>,
        through: impl FnOnce(Disk) -> S,
    ) -> Result<Self, LogError> {
        let folder = options.dir.as_path();
        let journal = journal::folder(folder);
        files::make_dir(&journal).map_err(LogError::refused(&journal))?;
        let key = NoteKey::open(&options.key, &options.origin)?;
        let mut publisher = Publisher::open(folder, key)?;
        let attachments = Attachments::open(folder)?;
        let replayed = replay(folder, publisher.size(), attachments.end()?)?;
        let newest = replayed.newest();
        let segment = replayed.segments.last().map(|segment| segment.file.clone());
        let tail = Arc::new(Tail::new(folder, replayed.segments));
        publisher.check_journal(&tail)?;
        let store = through(Disk::new(&journal, segment));
        let mut writer = Writer::new(tail.clone(), store, replayed.durable, newest);
        if let Some(archive) = &mut archive {
            archive::heal(&mut **archive, &mut publisher, &tail, &mut writer)?;
        }
        let intake = Arc::new(Intake::new(writer.next()));
        let parts = Parts {
            folder: folder.to_owned(),
            intake: intake.clone(),
            tail: tail.clone(),
            attachments,
            published: publisher.size().into(),
            retained: prune::first_retained(folder)?.into(),
            publisher: Mutex::new(publisher),
        };
        let parts = Arc::new(parts);
        let appender = Appender::new(intake, tail, writer, archive);
        let thread = Builder::new().name("issuance-log".to_owned());
        let thread = thread.spawn(move || appender.run());
        Ok(Self {
            parts,
            writer: Some(thread.map_err(LogError::refused(&journal))?),
        })
    }

    /// Appends the entry that `make` builds for the index it is given, durable on return; indexes
    /// have no holes. `make` runs under the log's lock: it must be short and must not block. A
    /// caller that stops waiting may find its entry appended. With an archive an entry is durable
    /// there before the disk has it; where the disk refuses it then, it is appended all the same.
    ///
    /// # Errors
    /// `make` failed, or the log did.
    pub async fn append<E>(
        &self,
        make: impl FnOnce(u64) -> Result<Vec<u8>, E>,
    ) -> Result<Appended, AppendError<E>> {
        self.parts.intake.append(make).await
    }

    /// How many entries are durable.
    pub fn size(&self) -> u64 {
        self.parts.intake.durable()
    }

    /// Whether a disk with room makes it take entries: not after an fsync that failed, and not while
    /// so many of them wait for a checkpoint that there has to be one first.
    pub fn needs_only_room(&self) -> bool {
        let begins = self.size().is_multiple_of(journal::SEGMENT_ENTRIES);
        let is_full = begins && self.parts.tail.segments() >= journal::MAX_SEGMENTS;
        !is_full && !self.parts.intake.stopped()
    }

    /// How many entries the newest checkpoint covers.
    pub fn published(&self) -> u64 {
        self.parts.published.load(Ordering::Acquire)
    }

    /// The lowest index whose entry was not pruned.
    pub fn first_retained(&self) -> u64 {
        self.parts.retained.load(Ordering::Acquire)
    }

    /// The key by which auditors know this log, as a C2SP verifier key.
    pub fn verifier_key(&self) -> String {
        self.parts.publisher().verifier_key()
    }

    /// One durable entry; `None` beyond the end or where it was pruned. Blocks on the disk.
    ///
    /// # Errors
    /// The disk, or damage.
    pub fn entry(&self, index: u64) -> Result<Option<Arc<[u8]>>, LogError> {
        if index >= self.size() || index < self.first_retained() {
            return Ok(None);
        }
        let entries = self.parts.chunk(index, index + 1)?;
        Ok(entries.into_iter().next())
    }

    /// The durable entries from an index on, in order, as far as they are kept. Blocks on the disk.
    pub fn scan(
        &self,
        from: u64,
    ) -> impl Iterator<Item = Result<(u64, Arc<[u8]>), LogError>> + use<> {
        let parts = self.parts.clone();
        let from = from.max(self.first_retained());
        Scan::new(from, self.size(), move |index, end| parts.chunk(index, end))
    }

    /// Gives an archive the entries that it lacks: for a log that had none until now, before it is
    /// opened with one. Blocks on both.
    ///
    /// # Errors
    /// One of the two.
    pub fn fill(&self, archive: &mut dyn Archive) -> Result<(), LogError> {
        archive::fill(archive, |end| self.scan(end))
    }

    /// Keeps a small value beside an entry: not part of the tree, may be lost when power fails,
    /// never read back changed. Returns once written, not synced.
    ///
    /// # Errors
    /// The disk refused it, it is longer than [`crate::MAX_ATTACHMENT_BYTES`], or there is no such
    /// entry on the disk.
    pub fn attach(&self, index: u64, value: &[u8]) -> Result<(), LogError> {
        if index >= self.journalled() {
            return Err(LogError::Refused(format!("there is no entry {index}")));
        }
        self.parts.attachments.write(index, value)
    }

    /// What is kept beside an entry.
    ///
    /// # Errors
    /// The disk.
    pub fn attachment(&self, index: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.parts.attachments.read(index)
    }

    /// Writes tiles and a signed checkpoint for everything that is durable, where that is more
    /// than the last checkpoint covers. Appends go on meanwhile. Blocks on the disk.
    ///
    /// # Errors
    /// The disk. After an fsync that failed the whole log stops.
    pub fn publish(&self, now: Timestamp) -> Result<(), LogError> {
        let parts = &self.parts;
        let mut publisher = parts.publisher();
        if parts.intake.stopped() {
            return Err(LogError::Stopped);
        }
        let outcome = publisher.publish(&parts.tail, self.journalled(), now);
        parts.published.store(publisher.size(), Ordering::Release);
        if matches!(outcome, Err(LogError::Stopped)) {
            parts.intake.stop(&mut Vec::new());
        }
        outcome
    }

    /// How many entries the disk has: those that the archive alone has are not published.
    fn journalled(&self) -> u64 {
        let size = self.size();
        size.saturating_sub(self.parts.tail.owed())
    }

    /// Removes the bodies of entries below an index, whole bundles at a time and none that no
    /// checkpoint covers; tiles and checkpoints stay. Returns [`Log::first_retained`]. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// The disk.
    pub fn prune(&self, below: u64) -> Result<u64, LogError> {
        let parts = &self.parts;
        let publisher = parts.publisher();
        // What is in the journal stays: its segments go by themselves once bundles hold them.
        let journal = parts.tail.first().unwrap_or(publisher.size());
        let below = below.min(publisher.size()).min(journal);
        let first = (below - below % TILE_WIDTH).max(self.first_retained());
        if first > self.first_retained() {
            prune::retain(&parts.folder, first)?;
            parts.retained.store(first, Ordering::Release);
        }
        if first > 0 {
            prune::remove_bundles(&parts.folder, first)?;
            parts.attachments.prune(first)?;
        }
        Ok(first)
    }

    /// Links the whole log as it is now into a folder that is missing or empty, on the same file
    /// system. Appends go on; for a moment nothing is published or pruned. Blocks on the disk.
    ///
    /// # Errors
    /// The disk.
    pub fn snapshot(&self, to: &Path) -> Result<Snapshot, LogError> {
        let parts = &self.parts;
        let mut linking = Linking::new(&parts.folder, to)?;
        let before = self.published();
        linking.full(0, before, self.first_retained())?;
        let publisher = parts.publisher();
        linking.full(before, publisher.size(), self.first_retained())?;
        linking.rest(&publisher, &parts.tail)
    }
}

impl Parts {
    fn chunk(&self, index: u64, end: u64) -> Result<Vec<Arc<[u8]>>, LogError> {
        chunk(&self.folder, &self.tail, index, end)
    }

    fn publisher(&self) -> MutexGuard<'_, Publisher> {
        // A publication changes its state only once everything is written.
        self.publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.parts.intake.close();
        // A writer that panicked has nothing more to write.
        let _ = self.writer.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests;
