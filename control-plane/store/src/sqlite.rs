//! SQLite in a file of the data directory: what needs nothing.
//!
//! After an fsync that failed nothing is known of the disk, and a repeated fsync may lie. After any
//! error, a full disk or quota above all, the connection is opened anew: the database may have rolled
//! back by itself, of which its library knows nothing, so the old one would refuse every transaction
//! to come.
//!
//! In WAL mode a commit writes its frames, syncs them, then puts them into the index of the log,
//! which is shared memory in a file of its own. Where that file cannot grow, on a full disk, the
//! commit fails though its frames are on the disk: nobody sees them, and a recovery would bring them
//! back. So the next commit that succeeds decides: it is durable with everything before it, and what
//! it does not see it has overwritten.

mod reader;
mod statements;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use countersign_model::Seq;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};

use self::reader::SqliteReader;
use self::statements::{find, level, make, mark, newest, put, seqs, set_level, trim};
use crate::database::{
    Database, Failed, Fate, Page, Places, Snapshot, Unread, Unsettled, asked, last, place,
};
use crate::{Commit, DatabaseError, Kind, Level, StoreError, TRIAL, Write};

/// SQLite's primary result code for input/output errors; extended codes carry it in the low byte.
const SQLITE_IOERR: i32 = 10;
/// No room for what was written. In a commit that comes before its last frame is whole: nothing is
/// kept.
const SQLITE_FULL: i32 = 13;
/// A write was refused: the same.
const SQLITE_IOERR_WRITE: i32 = SQLITE_IOERR | 3 << 8;
const SQLITE_IOERR_FSYNC: i32 = SQLITE_IOERR | 4 << 8;
const SQLITE_IOERR_DIR_FSYNC: i32 = SQLITE_IOERR | 5 << 8;

/// The writing connection and the newest commit.
#[derive(Debug)]
pub(crate) struct Sqlite {
    path: PathBuf,
    /// `None` from a failed batch to the next one.
    connection: Option<SqliteConnection>,
    newest: Seq,
}

/// Opens a database and brings its schema up to date.
pub(crate) async fn open(path: &Path) -> Result<(Sqlite, SqliteReader, Seq), StoreError> {
    let mut writing = connect(path).await?;
    migrate(&mut writing).await?;
    let newest = newest(&mut writing).await?;
    if newest == Seq(0) {
        // Nobody older uses what is made now.
        set_level(Level::OWN, &mut writing).await?;
    }
    let reader = SqliteReader::new(path.to_owned(), connect(path).await?);
    Ok((
        Sqlite::new(path.to_owned(), writing, newest),
        reader,
        newest,
    ))
}

/// Writes a database that holds what another one did at a moment into an empty file: one file, whole.
pub(crate) async fn write_copy(path: &Path, source: &Snapshot) -> Result<(), StoreError> {
    let mut connection = connect(path).await?;
    migrate(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    for entry in &source.entries {
        put(entry, &mut transaction).await?;
    }
    // What tells the newest commit: nothing else of the past is there.
    mark(source.seq, &mut transaction).await?;
    set_level(source.level, &mut transaction).await?;
    transaction.commit().await?;
    settle(connection).await
}

/// What is in a database that nobody uses. It is one file afterwards.
pub(crate) async fn look(path: &Path) -> Result<Snapshot, StoreError> {
    let mut connection = connect(path).await?;
    check_level(&mut connection).await?;
    let snapshot = reader::read_all(&mut connection).await?;
    settle(connection).await?;
    Ok(snapshot)
}

/// Brings everything from the log into the file, so that the file can be moved alone.
async fn settle(mut connection: SqliteConnection) -> Result<(), StoreError> {
    let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    match busy {
        0 => Ok(()),
        _ => Err(DatabaseError::new("the database is in use").into()),
    }
}

/// Gives a database that [`look`] or [`write_copy`] left another name.
pub(crate) fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::rename(from, to)?;
    // Both are empty. The next database of that name must not find them.
    for part in ["-wal", "-shm"] {
        let mut name = from.as_os_str().to_owned();
        name.push(part);
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "10000")
        .disable_statement_logging();
    options.connect().await
}

/// An error where a newer program wrote what this one cannot read.
async fn check_level(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let level = level(connection).await?;
    match level <= Level::OWN {
        true => Ok(()),
        false => Err(StoreError::Schema(format!(
            "it is at level {}, and this program reads level {} and below: install the newer release",
            level.0,
            Level::OWN.0
        ))),
    }
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    check_level(connection).await?;
    let migrated = migrator().run_direct(None, connection, false).await;
    migrated.map_err(|error| StoreError::Schema(error.to_string()))
}

fn migrator() -> Migrator {
    Migrator::with_migrations(vec![Migration::new(
        1,
        Cow::Borrowed("commit log"),
        MigrationType::Simple,
        include_str!("../migrations/sqlite/0001_commit_log.sql").into_sql_str(),
        false,
    )])
}

impl Sqlite {
    fn new(path: PathBuf, connection: SqliteConnection, newest: Seq) -> Self {
        Self {
            path,
            connection: Some(connection),
            newest,
        }
    }

    async fn connected(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Ends the connection and with it its transaction, whatever became of that.
    async fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "a connection to the store ended badly");
        }
    }

    async fn try_write(&mut self, commits: &[Commit]) -> Result<Places, (sqlx::Error, Fate)> {
        let before = self.newest;
        let refused = |error| {
            let fate = fate(&error, None);
            (error, fate)
        };
        let connection = self.connected().await.map_err(refused)?;
        let begun = connection.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = begun.map_err(refused)?;
        let found = seqs(asked(commits), &mut transaction).await;
        let places = place(before, commits, found.map_err(refused)?);
        for (commit, place) in commits.iter().zip(&places) {
            let Ok(seq) = place else { continue };
            for write in &commit.writes {
                let made = make(*seq, write, &mut transaction).await;
                made.map_err(refused)?;
            }
        }
        let newest = last(&places).unwrap_or(before);
        trim(before, newest, &mut transaction)
            .await
            .map_err(refused)?;
        // A transaction that failed before is not asked to roll back: its connection is closed, and a
        // database that has done so already would answer with another error than the one that counts.
        match transaction.commit().await {
            Ok(()) => {
                self.newest = newest;
                Ok(places)
            }
            Err(error) => {
                let fate = fate(&error, Some(places));
                Err((error, fate))
            }
        }
    }

    /// Looks for the batch and makes a commit after it, with a place that the batch does not have.
    async fn look(&mut self, places: &Places) -> Result<bool, sqlx::Error> {
        let before = self.newest;
        let batch = last(places).unwrap_or(before);
        let connection = self.connected().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let (found, newest) = find(before, batch, &mut transaction).await?;
        let next = Seq(newest.max(batch).0 + 1);
        let trial = Write::put(Kind::Meta, TRIAL, &true);
        make(next, &trial, &mut transaction).await?;
        transaction.commit().await?;
        self.newest = next;
        Ok(found)
    }
}

impl Database for Sqlite {
    async fn write(&mut self, commits: &[Commit]) -> Result<Places, Failed> {
        match self.try_write(commits).await {
            Ok(places) => Ok(places),
            Err((error, fate)) => {
                self.close().await;
                let error = error.into();
                Err(Failed { error, fate })
            }
        }
    }

    async fn settle(&mut self, places: &Places) -> Result<bool, Unsettled> {
        match self.look(places).await {
            Ok(is_kept) => Ok(is_kept),
            Err(error) => {
                self.close().await;
                match fate(&error, Some(Places::new())) {
                    Fate::Unknown => Err(Unsettled::Ever(error.into())),
                    Fate::Refused | Fate::Open(_) | Fate::Older => {
                        Err(Unsettled::Yet(error.into()))
                    }
                }
            }
        }
    }

    /// Nobody else commits to the file.
    async fn changes(&mut self, _: Seq, _: Option<Seq>) -> Result<Option<Page>, Unread> {
        Ok(Some(Page::new(self.newest, Vec::new())))
    }
}

/// An fsync that failed is not known to have done anything, ever after. A commit writes, syncs and
/// shows itself in this order: what fails in the last step, or in a way that is not known, may be on
/// the disk. `at_commit` are the places of what was about to be.
fn fate(error: &sqlx::Error, at_commit: Option<Places>) -> Fate {
    let code = error
        .as_database_error()
        .and_then(|error| error.code()?.parse::<i32>().ok());
    match code {
        Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC) => Fate::Unknown,
        Some(SQLITE_IOERR_WRITE | SQLITE_FULL) => Fate::Refused,
        _ => at_commit.map_or(Fate::Refused, Fate::Open),
    }
}

#[cfg(test)]
mod tests;
