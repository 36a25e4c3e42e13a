//! A database in memory, which several stores may share: for tests, in which a control plane ends and
//! what it made durable stays.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_model::Seq;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::watch;

use crate::database::{
    Changes, Commit, Database, Failed, Places, Reader, Snapshot, Unsettled, asked, place,
};
use crate::{DatabaseError, Entry, Kind, ROWS_PER_READ, StoreError, Write};

/// What is durable. A clone is the same database.
#[derive(Clone, Debug, Default)]
pub struct MemoryDatabase {
    content: Arc<Mutex<Content>>,
    newest: Arc<watch::Sender<Seq>>,
}

#[derive(Debug, Default)]
struct Content {
    newest: Seq,
    entries: HashMap<(Kind, String), (Seq, String)>,
    changes: Vec<(Seq, Write)>,
}

impl MemoryDatabase {
    /// A commit changes the content whole, so one that panicked left nothing half done.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest commit, whoever makes it.
    pub(crate) fn newest(&self) -> watch::Receiver<Seq> {
        self.newest.subscribe()
    }
}

impl Content {
    fn make(&mut self, seq: Seq, write: &Write) {
        let name = (write.kind, write.key.clone());
        match &write.value {
            Some(value) => self.entries.insert(name, (seq, value.clone())),
            None => self.entries.remove(&name),
        };
        self.changes.push((seq, write.clone()));
        self.newest = seq;
    }
}

impl Database for MemoryDatabase {
    async fn write(&mut self, commits: &[Commit]) -> Result<Places, Failed> {
        let mut content = self.content();
        let found = asked(commits).filter_map(|(kind, key)| {
            let name = (kind, key.to_owned());
            let (seq, _) = content.entries.get(&name)?;
            Some((name, *seq))
        });
        let places = place(content.newest, commits, found.collect());
        for (commit, seq) in commits.iter().zip(&places) {
            let Some(seq) = seq else { continue };
            for write in &commit.writes {
                content.make(*seq, write);
            }
        }
        let newest = content.newest;
        drop(content);
        self.newest.send_replace(newest);
        Ok(places)
    }

    async fn settle(&mut self, _: &Places) -> Result<bool, Unsettled> {
        unreachable!("no batch of a memory fails")
    }
}

impl Reader for MemoryDatabase {
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        let content = self.content();
        let seq = content.newest;
        let mut entries: Vec<_> = content.entries.iter().map(entry).collect();
        drop(content);
        // A map has another order in each process, and a simulation must not.
        entries.sort_by(|one, other| (one.seq, &one.key).cmp(&(other.seq, &other.key)));
        ready(Ok(Snapshot { seq, entries })).boxed()
    }

    fn changes_after(&self, seq: Seq) -> BoxFuture<'_, Result<Changes, StoreError>> {
        let content = self.content();
        let after = content.changes.iter().filter(|(at, _)| *at > seq);
        let mut after: Vec<_> = after.cloned().collect();
        if let Some((last, _)) = after.get(ROWS_PER_READ).cloned() {
            after.retain(|(at, _)| *at <= last);
        }
        drop(content);
        ready(Ok(Some(after))).boxed()
    }

    fn copy_to<'a>(&'a self, _: &'a Path) -> BoxFuture<'a, Result<(), StoreError>> {
        let refused = DatabaseError::new("a database in memory is copied into no file");
        ready(Err(refused.into())).boxed()
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
