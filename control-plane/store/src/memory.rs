//! A database in memory, which several stores may share: for tests, and for a simulation, in which a control
//! plane ends and what it made durable stays.

mod session;
mod way;

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_model::Seq;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::watch;

use crate::database::{
    Changes, Database, Failed, Found, Page, Places, Reader, Snapshot, Unread, Unsettled, asked,
    last, place,
};
use crate::{
    BYTES_PER_READ, Commit, Committed, DatabaseError, Entry, Kind, Level, Levels, LogEntries,
    LogEntry, LogPage, LogRow, LogSignature, ROWS_PER_READ, StoreError, Write,
};

pub use self::session::Reached;
pub use self::way::{Asked, Direct, Way};
use crate::fencing::{Known, Present, Row};

/// What is durable. A clone is the same database.
#[derive(Clone, Debug, Default)]
pub struct MemoryDatabase {
    content: Arc<Mutex<Content>>,
    newest: Arc<watch::Sender<Seq>>,
    /// How many numbers were drawn, each for one thing alone: for processes that took the name of a writer and for
    /// batches. What is put back draws none of them again.
    drawn: Arc<AtomicU64>,
}

/// What a database held at one moment, to be put back.
#[derive(Debug)]
pub struct Held(Content);

#[derive(Clone, Debug, Default)]
struct Content {
    newest: Seq,
    entries: HashMap<(Kind, String), (Seq, String)>,
    commits: Vec<Committed>,
    logs: BTreeMap<(u32, u64), (Seq, Vec<u8>)>,
    signatures: BTreeMap<(u32, u64), Vec<u8>>,
    writers: BTreeMap<String, Writer>,
    /// What tells each batch from another in its place, by its newest commit.
    marks: BTreeMap<Seq, u64>,
    level: Level,
}

#[derive(Clone, Debug)]
struct Writer {
    /// Its data directory.
    instance: String,
    row: Row,
    /// What its process reads.
    speaks: Level,
    /// Its newest commit.
    newest: Option<Seq>,
}

impl Held {
    /// Its newest commit.
    pub fn newest(&self) -> Seq {
        self.0.newest
    }
}

impl MemoryDatabase {
    /// As a control plane reaches it.
    pub fn reached(&self, by: Arc<dyn Way>) -> Reached {
        Reached::new(self.clone(), by)
    }

    /// What it holds, to be put back.
    pub fn held(&self) -> Held {
        Held(self.content().clone())
    }

    /// Puts back what it held, and says what it holds instead of that until then.
    pub fn put_back(&self, Held(held): Held) -> Held {
        let newest = held.newest;
        let before = std::mem::replace(&mut *self.content(), held);
        self.newest.send_replace(newest);
        Held(before)
    }

    /// The newest commit of a writer.
    pub fn newest_of(&self, writer: &str) -> Option<Seq> {
        self.content().writers.get(writer)?.newest
    }

    fn draw(&self) -> u64 {
        self.drawn.fetch_add(1, Ordering::AcqRel)
    }

    /// A commit changes the content whole, so one that panicked left nothing half done.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::unnecessary_wraps, reason = "as a database answers")]
    fn page(&self, after: Seq, before: Option<Seq>) -> Result<Option<Page>, Unread> {
        let content = self.content();
        Ok(Some(Page::new(content.newest, content.page(after, before))))
    }

    /// Tells of the newest commit, unless another has told of a newer one meanwhile.
    fn tell(&self) {
        let newest = self.content().newest;
        self.newest.send_if_modified(|told| {
            let is_newer = *told < newest;
            *told = newest.max(*told);
            is_newer
        });
    }

    /// The newest commit, whoever makes it.
    pub(crate) fn newest(&self) -> watch::Receiver<Seq> {
        self.newest.subscribe()
    }
}

impl Content {
    fn levels(&self) -> Levels {
        let writers = self.writers.iter();
        let speakers = writers.filter(|(_, writer)| !writer.row.is_fenced);
        Levels {
            level: self.level,
            speakers: { speakers }
                .map(|(name, writer)| (name.clone(), writer.speaks))
                .collect(),
        }
    }

    fn raise(&mut self, to: Level) -> Levels {
        if self.levels().in_the_way(to).next().is_none() {
            self.level = self.level.max(to);
        }
        self.levels()
    }

    fn found(&self, commits: &[Commit]) -> Found {
        let values = asked(commits).filter_map(|(kind, key)| {
            let name = (kind, key.to_owned());
            let (seq, _) = self.entries.get(&name)?;
            Some((name, *seq))
        });
        let entries = commits.iter().flat_map(|commit| &commit.entries);
        let entries = entries.map(LogEntry::name);
        Found {
            values: values.collect(),
            entries: entries.filter(|it| self.logs.contains_key(it)).collect(),
        }
    }

    /// The places that a batch would have.
    fn places(&self, commits: &[Commit]) -> Places {
        place(self.newest, commits, self.found(commits))
    }

    /// Makes those that have a place, as a batch with a mark of its own.
    fn make_all(&mut self, commits: &[Commit], mark: u64) -> Places {
        let places = self.places(commits);
        if let Some(newest) = last(&places) {
            self.marks.insert(newest, mark);
        }
        for (commit, place) in commits.iter().zip(&places) {
            if let Ok(seq) = place {
                self.make(*seq, commit);
            }
        }
        places
    }

    /// What is at a commit that is known.
    fn present(&self, known: Seq) -> Present {
        Present {
            newest: self.newest,
            oldest: Seq(0),
            mark: self.mark(known),
        }
    }

    /// The newest commit, and what tells it from another one.
    fn newest(&self) -> Known {
        let mark = self.mark(self.newest);
        Known {
            seq: self.newest,
            mark: mark.unwrap_or_default(),
        }
    }

    fn mark(&self, seq: Seq) -> Option<String> {
        match seq {
            // Before the first batch there is one state.
            Seq(0) => Some(String::new()),
            seq => self.marks.get(&seq).map(u64::to_string),
        }
    }

    fn make(&mut self, seq: Seq, commit: &Commit) {
        for write in &commit.writes {
            self.write(seq, write);
        }
        let mut made = Committed {
            seq,
            writes: commit.writes.clone(),
            entries: commit.entries.clone(),
            signatures: Vec::new(),
        };
        made.entries.sort_by_key(LogEntry::name);
        for entry in &commit.entries {
            self.logs.insert(entry.name(), (seq, entry.bytes.clone()));
        }
        for signature in &commit.signatures {
            if let Slot::Vacant(slot) = self.signatures.entry(signature.name()) {
                slot.insert(signature.bytes.clone());
                made.signatures.push(signature.clone());
            }
        }
        made.signatures.sort_by_key(LogSignature::name);
        self.newest = seq;
        self.commits.push(made);
    }

    /// Whole commits, up to the one that reaches a bound.
    fn page(&self, after: Seq, before: Option<Seq>) -> Vec<Committed> {
        let (mut rows, mut bytes) = (0, 0);
        let first = self.commits.partition_point(|it| it.seq <= after);
        let next = self.commits[first..].iter();
        let next = next.take_while(|it| before.is_none_or(|before| it.seq < before));
        let page = next.take_while(|commit| {
            let has_room = rows <= ROWS_PER_READ && bytes <= BYTES_PER_READ;
            let (more_rows, more_bytes) = commit.size();
            (rows, bytes) = (rows + more_rows, bytes + more_bytes);
            has_room
        });
        page.cloned().collect()
    }

    fn write(&mut self, seq: Seq, write: &Write) {
        let name = (write.kind, write.key.clone());
        match &write.value {
            Some(value) => self.entries.insert(name, (seq, value.clone())),
            None => self.entries.remove(&name),
        };
    }
}

impl Database for MemoryDatabase {
    async fn write(&mut self, commits: &[Commit]) -> Result<Places, Failed> {
        let mark = self.draw();
        let places = self.content().make_all(commits, mark);
        self.tell();
        Ok(places)
    }

    async fn settle(&mut self, _: &Places) -> Result<bool, Unsettled> {
        unreachable!("no batch of a memory fails")
    }

    async fn changes(&mut self, after: Seq, before: Option<Seq>) -> Result<Option<Page>, Unread> {
        self.page(after, before)
    }
}

impl Reader for MemoryDatabase {
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        let content = self.content();
        let (seq, level) = (content.newest, content.level);
        let mut entries: Vec<_> = content.entries.iter().map(entry).collect();
        drop(content);
        // A map has another order in each process, and a simulation must not.
        entries.sort_by(|one, other| (one.seq, &one.key).cmp(&(other.seq, &other.key)));
        let snapshot = Snapshot {
            seq,
            entries,
            level,
        };
        ready(Ok(snapshot)).boxed()
    }

    fn changes_after(&self, seq: Seq) -> BoxFuture<'_, Result<Changes, StoreError>> {
        let page = self.content().page(seq, None);
        ready(Ok(Some(page))).boxed()
    }

    fn copy_to<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<(), StoreError>> {
        let refused = DatabaseError::new("a database in memory is copied into no file");
        ready(Err(refused.into())).boxed()
    }

    fn fence_out<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.content().fence_out(name);
        ready(Ok(())).boxed()
    }

    fn levels(&self) -> BoxFuture<'_, Result<Levels, StoreError>> {
        ready(Ok(self.content().levels())).boxed()
    }

    fn raise(&self, to: Level) -> BoxFuture<'_, Result<Levels, StoreError>> {
        ready(Ok(self.content().raise(to))).boxed()
    }

    fn keeps_log(&self) -> bool {
        true
    }

    fn log_entries(&self, log_id: u32, from: u64) -> BoxFuture<'_, Result<LogEntries, StoreError>> {
        let content = self.content();
        let entries = content.logs.range((log_id, from)..=(log_id, u64::MAX));
        let page = entries
            .take(ROWS_PER_READ)
            .map(|((_, index), (seq, bytes))| {
                let (index, bytes) = (*index, bytes.clone());
                let entry = LogEntry {
                    log_id,
                    index,
                    bytes,
                };
                (entry, *seq)
            });
        let page = page.collect();
        drop(content);
        ready(Ok(page)).boxed()
    }

    fn log_size(&self, log_id: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        let content = self.content();
        let mut entries = content.logs.range((log_id, 0)..=(log_id, u64::MAX));
        let size = entries.next_back().map_or(0, |((_, last), _)| last + 1);
        ready(Ok(size)).boxed()
    }

    fn log_entry(
        &self,
        log_id: u32,
        index: u64,
    ) -> BoxFuture<'_, Result<Option<LogRow>, StoreError>> {
        let content = self.content();
        let name = (log_id, index);
        let row = content.logs.get(&name).map(|(seq, bytes)| {
            let bytes = bytes.clone();
            let entry = LogEntry {
                log_id,
                index,
                bytes,
            };
            (*seq, entry, content.signatures.get(&name).cloned())
        });
        drop(content);
        ready(Ok(row)).boxed()
    }

    fn log_unsigned(&self, log_id: u32, from: u64) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        let content = self.content();
        let names = content.logs.range((log_id, from)..=(log_id, u64::MAX));
        let names = names.map(|(name, _)| *name);
        let unsigned = names.filter(|name| !content.signatures.contains_key(name));
        let page = unsigned.take(ROWS_PER_READ).map(|(_, index)| index);
        let page = page.collect();
        drop(content);
        ready(Ok(page)).boxed()
    }

    fn log_page(&self, after: (Seq, u32, u64)) -> BoxFuture<'_, Result<LogPage, StoreError>> {
        let content = self.content();
        let entries = content.commits.iter().flat_map(|commit| {
            let entries = commit.entries.iter();
            entries.map(|entry| (commit.seq, entry))
        });
        let later = entries.filter(|(seq, entry)| (*seq, entry.log_id, entry.index) > after);
        let page = later.take(ROWS_PER_READ).map(|(seq, entry)| {
            let signature = content.signatures.get(&entry.name());
            (seq, entry.clone(), signature.cloned())
        });
        let page = page.collect();
        drop(content);
        ready(Ok(page)).boxed()
    }
}

fn entry(((kind, key), (seq, value)): (&(Kind, String), &(Seq, String))) -> Entry {
    Entry {
        kind: *kind,
        key: key.clone(),
        seq: *seq,
        value: value.clone(),
    }
}
