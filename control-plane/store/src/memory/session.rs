//! A control plane at a database in memory, over a way on which things are lost: the writer that has a name,
//! whoever reads, and whoever listens.

use std::path::Path;
use std::sync::Arc;

use countersign_model::Seq;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Asked, Content, MemoryDatabase, Way, Writer};
use crate::database::{
    Changes, Database, Failed, Fate, Page, Places, Reader, Snapshot, Unread, Unsettled, last,
};
use crate::fencing::{Known, Lost, Row, has, lost, was_made};
use crate::following::Listening;
use crate::postgres::WriterName;
use crate::{
    Commit, DatabaseError, Level, Levels, LogEntries, LogPage, LogRow, Shared, Store, StoreError,
};

/// A database, and the way to it.
#[derive(Clone, Debug)]
pub struct Reached {
    database: MemoryDatabase,
    way: Arc<dyn Way>,
}

impl Reached {
    pub(super) fn new(database: MemoryDatabase, way: Arc<dyn Way>) -> Self {
        Self { database, way }
    }

    /// Asks, and brings the answer back.
    async fn asked<T>(
        &self,
        what: Asked,
        answer: impl AsyncFnOnce(&MemoryDatabase) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.there(what).await?;
        let answer = answer(&self.database).await?;
        self.back(what).await?;
        Ok(answer)
    }

    async fn there(&self, asked: Asked) -> Result<(), DatabaseError> {
        self.way.there(asked).await.map_err(DatabaseError::new)
    }

    async fn back(&self, asked: Asked) -> Result<(), DatabaseError> {
        self.way.back(asked).await.map_err(DatabaseError::new)
    }

    /// Takes the row of a writer for a program that speaks a level.
    pub(crate) async fn open(
        &self,
        writer: WriterName,
        speaks: Level,
    ) -> Result<Store, StoreError> {
        let WriterName { name, instance } = writer;
        self.there(Asked::State).await?;
        let run = self.database.draw();
        let (taken, levels) = {
            let mut content = self.database.content();
            let taken = content.take((&name, speaks), &instance, run);
            (taken, content.levels())
        };
        self.back(Asked::State).await?;
        let (row, known) = taken?;
        let newest = known.seq;
        let session = Session {
            reached: self.clone(),
            name,
            row,
            known,
        };
        let (reader, address) = (self.clone(), self.clone());
        let store = Store::following::<Listener>(session, reader, newest, address);
        Ok(store.speaking(speaks, levels))
    }
}

impl Shared for Reached {
    fn look(&self) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        Box::pin(async { Ok(Some(self.snapshot().await?)) })
    }

    fn connect(&self, writer: WriterName) -> BoxFuture<'_, Result<Store, StoreError>> {
        Box::pin(self.open(writer, Level::OWN))
    }
}

impl Content {
    /// Makes the row of a writer that of a process.
    fn take(
        &mut self,
        (name, speaks): (&str, Level),
        instance: &str,
        run: u64,
    ) -> Result<(Row, Known), StoreError> {
        if speaks < self.level {
            let refused = format!("at level {}: install the newer release", self.level.0);
            return Err(StoreError::Schema(refused));
        }
        let run = run.to_string();
        let writer = self.writers.entry(name.to_owned());
        let writer = writer.or_insert_with(|| Writer {
            instance: instance.to_owned(),
            row: Row {
                run: run.clone(),
                batch: 0,
                is_fenced: false,
            },
            speaks,
            newest: None,
        });
        let name = name.to_owned();
        if writer.row.is_fenced {
            return Err(StoreError::FencedOut { name });
        }
        if writer.instance != instance {
            return Err(StoreError::NameTaken { name });
        }
        writer.speaks = speaks;
        writer.row = Row {
            run,
            ..writer.row.next()
        };
        let row = writer.row.clone();
        Ok((row, self.newest()))
    }

    /// A second fence changes nothing.
    pub(super) fn fence_out(&mut self, name: &str) {
        let writer = self.writers.entry(name.to_owned());
        let writer = writer.or_insert_with(|| Writer {
            instance: String::new(),
            row: Row {
                run: String::new(),
                batch: 0,
                is_fenced: false,
            },
            speaks: Level::FIRST,
            newest: None,
        });
        if !writer.row.is_fenced {
            writer.row = writer.row.fenced();
        }
    }
}

/// The writer of a name.
struct Session {
    reached: Reached,
    name: String,
    /// Its row, as the newest batch left it that is known to be made.
    row: Row,
    /// The newest commit that was read or made.
    known: Known,
}

impl Session {
    /// Makes a batch, unless its COMMIT does not arrive; says which. Nothing where the row of the writer is
    /// not as it left it.
    fn make(&self, commits: &[Commit]) -> Result<(Places, bool), Failed> {
        let mark = self.reached.database.draw();
        let mut content = self.reached.database.content();
        let row = content.writers.get(&self.name).map(|it| &it.row);
        if row != Some(&self.row) {
            return Err(stopped(lost(&self.name, &self.row, row)));
        }
        has(&self.known, &content.present(self.known.seq)).map_err(stopped)?;
        if !self.reached.way.commits() {
            return Ok((content.places(commits), false));
        }
        let places = content.make_all(commits, mark);
        if let Some(newest) = last(&places)
            && let Some(writer) = content.writers.get_mut(&self.name)
        {
            writer.row = self.row.next();
            writer.newest = Some(newest);
        }
        Ok((places, true))
    }
}

impl Session {
    /// A batch of this session was made, whose mark its answer tells.
    fn note_made(&mut self, seq: Seq) {
        if let Some(mark) = self.reached.database.content().mark(seq) {
            self.known = Known { seq, mark };
        }
    }
}

impl Database for Session {
    async fn write(&mut self, commits: &[Commit]) -> Result<Places, Failed> {
        let there = self.reached.there(Asked::Batch).await;
        there.map_err(|error| failed(error, Fate::Refused))?;
        let (places, arrives) = self.make(commits)?;
        self.reached.database.tell();
        let back = match arrives {
            true => self.reached.back(Asked::Batch).await,
            false => Err(DatabaseError::new("the session ended at its COMMIT")),
        };
        match (back, last(&places)) {
            (Ok(()), made) => {
                if let Some(made) = made {
                    self.row = self.row.next();
                    self.note_made(made);
                }
                Ok(places)
            }
            (Err(error), Some(_)) => Err(failed(error, Fate::Open(places))),
            (Err(error), None) => Err(failed(error, Fate::Refused)),
        }
    }

    async fn settle(&mut self, places: &Places) -> Result<bool, Unsettled> {
        let there = self.reached.there(Asked::Batch).await;
        there.map_err(Unsettled::Yet)?;
        let row = {
            let content = self.reached.database.content();
            content.writers.get(&self.name).map(|it| it.row.clone())
        };
        let back = self.reached.back(Asked::Batch).await;
        back.map_err(Unsettled::Yet)?;
        let is_made = was_made(&self.name, &self.row, row.as_ref())?;
        if is_made {
            self.row = self.row.next();
            last(places)
                .into_iter()
                .for_each(|made| self.note_made(made));
        }
        Ok(is_made)
    }

    async fn changes(&mut self, after: Seq, before: Option<Seq>) -> Result<Option<Page>, Unread> {
        let known = self.known.clone();
        let page = async |database: &MemoryDatabase| {
            let page = database.page(after, before);
            let content = database.content();
            Ok((page, content.present(known.seq), content.newest()))
        };
        let (page, present, newest) = self.reached.asked(Asked::Commits, page).await?;
        self.known = known.followed_by(&present, newest)?;
        page
    }
}

impl Reader for Reached {
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        let snapshot = async |database: &MemoryDatabase| database.snapshot().await;
        Box::pin(self.asked(Asked::State, snapshot))
    }

    fn changes_after(&self, seq: Seq) -> BoxFuture<'_, Result<Changes, StoreError>> {
        let changes = async move |database: &MemoryDatabase| database.changes_after(seq).await;
        Box::pin(self.asked(Asked::Commits, changes))
    }

    fn copy_to<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), StoreError>> {
        self.database.copy_to(path)
    }

    fn fence_out<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let fence = async move |database: &MemoryDatabase| database.fence_out(name).await;
        Box::pin(self.asked(Asked::State, fence))
    }

    fn levels(&self) -> BoxFuture<'_, Result<Levels, StoreError>> {
        let levels = async |database: &MemoryDatabase| Reader::levels(database).await;
        Box::pin(self.asked(Asked::State, levels))
    }

    fn raise(&self, to: Level) -> BoxFuture<'_, Result<Levels, StoreError>> {
        let raise = async move |database: &MemoryDatabase| Reader::raise(database, to).await;
        Box::pin(self.asked(Asked::State, raise))
    }

    fn keeps_log(&self) -> bool {
        true
    }

    fn log_entries(&self, log_id: u32, from: u64) -> BoxFuture<'_, Result<LogEntries, StoreError>> {
        let entries =
            async move |database: &MemoryDatabase| database.log_entries(log_id, from).await;
        Box::pin(self.asked(Asked::Entries, entries))
    }

    fn log_size(&self, log_id: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        let size = async move |database: &MemoryDatabase| database.log_size(log_id).await;
        Box::pin(self.asked(Asked::Entries, size))
    }

    fn log_entry(
        &self,
        log_id: u32,
        index: u64,
    ) -> BoxFuture<'_, Result<Option<LogRow>, StoreError>> {
        let entry = async move |database: &MemoryDatabase| database.log_entry(log_id, index).await;
        Box::pin(self.asked(Asked::State, entry))
    }

    fn log_unsigned(&self, log_id: u32, from: u64) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        let unsigned =
            async move |database: &MemoryDatabase| database.log_unsigned(log_id, from).await;
        Box::pin(self.asked(Asked::State, unsigned))
    }

    fn log_page(&self, after: (Seq, u32, u64)) -> BoxFuture<'_, Result<LogPage, StoreError>> {
        let page = async move |database: &MemoryDatabase| database.log_page(after).await;
        Box::pin(self.asked(Asked::State, page))
    }
}

/// Whoever listens, and asks now and then.
struct Listener {
    reached: Reached,
    commits: watch::Receiver<Seq>,
}

impl Listening for Listener {
    type Address = Reached;

    async fn open(reached: &Reached) -> Result<Self, DatabaseError> {
        Ok(Self {
            reached: reached.clone(),
            commits: reached.database.newest(),
        })
    }

    fn notifies(&self) -> bool {
        true
    }

    async fn newest(&mut self) -> Result<Seq, DatabaseError> {
        self.reached.there(Asked::Commits).await?;
        let newest = *self.commits.borrow_and_update();
        self.reached.back(Asked::Commits).await?;
        Ok(newest)
    }

    async fn notified(&mut self) -> bool {
        let is_open = self.commits.changed().await.is_ok();
        self.reached.way.notice().await;
        is_open
    }
}

/// Nobody writes here any more.
fn stopped(lost: Lost) -> Failed {
    match lost {
        Lost::Taken(error) => failed(error, Fate::Unknown),
        Lost::Older(error) => failed(error, Fate::Older),
    }
}

fn failed(error: DatabaseError, fate: Fate) -> Failed {
    Failed { error, fate }
}
