//! PostgreSQL: how a control plane becomes several.
//!
//! A batch is one transaction of two round trips and a commit. The first takes the row of this
//! writer, then that of the sequence, and reads what the preconditions ask for; the second makes the
//! writes and commits. While the row of the sequence is locked nobody else has a place, so places are
//! given in the order in which commits become visible.
//!
//! The row of the writer holds the number of its newest batch. It is the fence: a batch is made only
//! on top of the one that this process made before. A second process with the same name, and a
//! database that was put back from a copy, are found by it, and the writer stops. And it is the answer
//! to a lost answer: whether a commit was made is read under a lock that the old transaction would
//! still hold if it were undecided.

mod address;
mod changes;
mod checking;
mod columns;
mod copying;
mod fence;
mod following;
mod levels;
mod logs;
mod not_written;
mod reader;
mod schema;
mod session;
mod snapshot;
mod statements;
mod tls;

use std::time::Duration;

use countersign_model::Seq;
use tokio::time::Instant;

pub use self::address::{Address, AddressError};
pub use self::checking::{Checked, check, grant, migrate};
pub(crate) use self::copying::{mark_moved, write_copy};
pub(crate) use self::following::Listener;
use self::not_written::NotWritten;
pub(crate) use self::reader::PostgresReader;
pub use self::schema::VERSION;
use self::session::{AnswerError, Session};
use self::statements::Statements;
use crate::database::{
    Database, Failed, Page, Places, Reader, Snapshot, Unread, Unsettled, last, place,
};
use crate::fencing::{Known, Row, has, lost, was_made};
use crate::{Commit, DatabaseError, Level, StoreError};

/// After a connection that failed the next one is made, and until then writes are refused at once.
const CONNECT_AGAIN: Duration = Duration::from_secs(1);
/// A transaction that another one got in the way of is made again so often.
const TRIES: usize = 5;
/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterName {
    /// The name of the replica.
    pub name: String,
    /// What tells its data directory from another with the same name.
    pub instance: String,
}

/// The writing session, and the number of the newest batch.
#[derive(Debug)]
pub(crate) struct Postgres {
    address: Address,
    writer: WriterName,
    session: Option<Writing>,
    /// Its row, as the newest batch left it that is known to be made.
    row: Row,
    /// The newest commit that was read or made.
    known: Known,
    /// When a connection failed, and why.
    away: Option<(Instant, String)>,
}

#[derive(Debug)]
struct Writing {
    session: Session,
    statements: Statements,
}

/// Connects, brings the schema up to date and takes the row of the writer, which speaks a level. Returns the
/// newest place.
pub(crate) async fn open(
    address: Address,
    writer: WriterName,
    speaks: Level,
) -> Result<(Postgres, PostgresReader, Seq), StoreError> {
    let session = Session::open(&address).await?;
    schema::migrate(&session).await?;
    let writing = Writing::new(session).await?;
    let row = take_row(&writing, &writer, speaks).await?;
    let newest = writing.statements.newest(&writing.session).await?;
    let reader = PostgresReader::new(address.clone());
    let database = Postgres {
        address,
        writer,
        session: Some(writing),
        row,
        known: newest.clone(),
        away: None,
    };
    Ok((database, reader, newest.seq))
}

/// What is there, by reads alone.
pub(crate) async fn look(address: &Address) -> Result<Option<Snapshot>, StoreError> {
    let session = Session::open(address).await?;
    let present = schema::version(&session).await?;
    schema::is_usable(present)?;
    match present {
        None => Ok(None),
        Some(_) => PostgresReader::new(address.clone())
            .snapshot()
            .await
            .map(Some),
    }
}

/// Makes the row of a writer its own; from here on an older process of that name writes nothing.
async fn take_row(
    writing: &Writing,
    writer: &WriterName,
    speaks: Level,
) -> Result<Row, StoreError> {
    let Writing {
        session,
        statements,
    } = writing;
    if let Some(row) = statements.take(session, writer, speaks).await? {
        return Ok(row);
    }
    let row = statements.row_of(session, &writer.name).await;
    let row = row.map_err(DatabaseError::from)?;
    let name = writer.name.clone();
    Err(match row {
        Some(row) if row.is_fenced => StoreError::FencedOut { name },
        _ => StoreError::NameTaken { name },
    })
}

impl Writing {
    async fn new(session: Session) -> Result<Self, DatabaseError> {
        let statements = Statements::prepare(&session).await?;
        Ok(Self {
            session,
            statements,
        })
    }
}

impl Postgres {
    /// The session, opened anew where it ended; not more often than a server bears.
    async fn connected(&mut self) -> Result<&Writing, DatabaseError> {
        if let Some(writing) = self.session.take()
            && !writing.session.client().is_closed()
        {
            return Ok(self.session.insert(writing));
        }
        if let Some((at, reason)) = &self.away
            && at.elapsed() < CONNECT_AGAIN
        {
            return Err(DatabaseError::new(reason.clone()));
        }
        let opened = match Session::open(&self.address).await {
            Ok(session) => Writing::new(session).await,
            Err(error) => Err(error),
        };
        match opened {
            Ok(writing) => {
                self.away = None;
                Ok(self.session.insert(writing))
            }
            Err(error) => {
                self.away = Some((Instant::now(), error.to_string()));
                Err(error)
            }
        }
    }

    async fn try_write(
        &mut self,
        commits: &[Commit],
        is_again: bool,
    ) -> Result<Places, NotWritten> {
        let (own, name) = (self.row.clone(), self.writer.name.clone());
        let known = self.known.clone();
        let Writing {
            session,
            statements,
        } = self.connected().await.map_err(NotWritten::Away)?;
        let begun = statements
            .begin(session, (&name, &own, known.seq), commits, is_again)
            .await;
        let begun = begun.map_err(NotWritten::Begin)?;
        if !begun.is_ours {
            let row = statements.row_of(session, &name).await;
            let row = row.map_err(NotWritten::Begin)?;
            return Err(NotWritten::Lost(lost(&name, &own, row.as_ref())));
        }
        has(&known, &begun.present).map_err(NotWritten::Lost)?;
        let newest = begun.present.newest;
        let places = place(newest, commits, begun.found);
        if last(&places).is_none() {
            // Only refused commits: the row of the writer stays as it was.
            let rolled_back = session.client().batch_execute("ROLLBACK");
            let rolled_back = session.answered(rolled_back).await;
            return rolled_back.map(|()| places).map_err(NotWritten::Begin);
        }
        let made = statements.make(session, newest, commits, &places).await;
        match made {
            Ok(newest) => {
                self.row = own.next();
                self.known = newest;
                Ok(places)
            }
            Err(error) => Err(NotWritten::Commit(error, places)),
        }
    }

    /// What became of the batch after the newest, from the row of the writer.
    async fn look(&mut self, places: &Places) -> Result<bool, Unsettled> {
        let newest = last(places).unwrap_or(self.known.seq);
        let (own, name) = (self.row.clone(), self.writer.name.clone());
        let yet = |error: AnswerError| Unsettled::Yet(error.into());
        let Writing {
            session,
            statements,
        } = self.connected().await.map_err(Unsettled::Yet)?;
        let begin = session.client().batch_execute("BEGIN");
        session.answered(begin).await.map_err(yet)?;
        // Locked: an undecided transaction of ours would still hold it.
        let row = statements.locked_row_of(session, &name).await;
        let row = row.map_err(yet)?;
        let mark = statements.mark_of(session, newest).await.map_err(yet)?;
        // The lock is a write: its commit waits for the standbys that the batch may not have waited for.
        session.forget_warnings();
        let end = session.client().batch_execute("COMMIT");
        session.answered(end).await.map_err(yet)?;
        session.unwarned().map_err(yet)?;
        let is_made = was_made(&name, &own, row.as_ref())?;
        if is_made {
            self.row = own.next();
            // What is not kept any more tells nothing: the one that was known before is asked for.
            if let Some(mark) = mark {
                self.known = Known { seq: newest, mark };
            }
        }
        Ok(is_made)
    }
}

impl Database for Postgres {
    async fn write(&mut self, commits: &[Commit]) -> Result<Places, Failed> {
        let mut tries = 1;
        loop {
            match self.try_write(commits, tries > 1).await {
                Ok(places) => return Ok(places),
                Err(error) => {
                    // With its transaction, whatever became of that.
                    self.session = None;
                    if !error.is_retried() || tries == TRIES {
                        return Err(error.into_failed());
                    }
                    tries += 1;
                }
            }
        }
    }

    async fn settle(&mut self, places: &Places) -> Result<bool, Unsettled> {
        let looked = self.look(places).await;
        if looked.is_err() {
            self.session = None;
        }
        looked
    }

    async fn changes(&mut self, after: Seq, before: Option<Seq>) -> Result<Option<Page>, Unread> {
        let known = self.known.clone();
        let connected = self.connected().await;
        let Writing {
            session,
            statements,
        } = connected?;
        let read = statements.changes(session, (after, before), known.seq);
        match read.await {
            Ok(rows) => {
                let page = changes::page(after, &rows)?;
                if let Some((present, newest)) = changes::marks(&rows) {
                    self.known = known.followed_by(&present, newest)?;
                }
                Ok(page)
            }
            Err(error) => {
                self.session = None;
                Err(DatabaseError::from(error).into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
