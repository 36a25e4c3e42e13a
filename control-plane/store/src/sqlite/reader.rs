//! Reads beside the writer, on a connection of their own.

use std::path::{Path, PathBuf};

use countersign_model::Seq;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, Row};
use tokio::sync::Mutex;

use super::connect;
use super::statements::{level, newest, set_level};
use crate::commit::Part;
use crate::database::{Changes, Reader, Snapshot};
use crate::{
    BYTES_PER_READ, Committed, Entry, Kind, Level, Levels, LogEntries, LogPage, LogRow,
    ROWS_PER_READ, StoreError, Write, signed, unsigned,
};

/// The reading connection, and where another one is made.
#[derive(Debug)]
pub(crate) struct SqliteReader(pub(super) Mutex<SqliteConnection>, PathBuf);

impl SqliteReader {
    pub(super) fn new(path: PathBuf, connection: SqliteConnection) -> Self {
        Self(Mutex::new(connection), path)
    }

    async fn read_after(&self, seq: Seq) -> Result<Changes, StoreError> {
        let mut reader = self.0.lock().await;
        let rows = sqlx::query(
            "SELECT seq, kind, key, value FROM changes WHERE seq > ?1 AND seq <= ( \
             SELECT COALESCE(MIN(seq) FILTER (WHERE amount > ?2 OR bytes > ?3), MAX(seq)) FROM ( \
             SELECT seq, COUNT(*) OVER sums AS amount, SUM(size) OVER sums AS bytes FROM ( \
             SELECT seq, LENGTH(key) + COALESCE(LENGTH(value), 0) AS size FROM changes \
             WHERE seq > ?1 ORDER BY id LIMIT ?2 + 1) WINDOW sums AS (ORDER BY seq))) \
             ORDER BY id",
        )
        .bind(signed(seq.0))
        .bind(signed(ROWS_PER_READ as u64))
        .bind(signed(BYTES_PER_READ as u64))
        .fetch_all(&mut *reader)
        .await?;
        // After the rows: old commits are removed meanwhile, and never come back.
        let oldest: Option<i64> = sqlx::query_scalar("SELECT MIN(seq) FROM changes")
            .fetch_one(&mut *reader)
            .await?;
        if oldest.is_some_and(|oldest| seq.0 + 1 < unsigned(oldest)) {
            return Ok(None);
        }
        Committed::gathered(rows.iter().map(change)).map(Some)
    }

    async fn write_copy(&self, path: &Path) -> Result<(), StoreError> {
        let path = path.to_string_lossy().into_owned();
        // Nobody who reads waits for a copy.
        let mut own = connect(&self.1).await?;
        sqlx::query("VACUUM INTO ?")
            .bind(path)
            .execute(&mut own)
            .await?;
        own.close().await?;
        Ok(())
    }
}

impl Reader for SqliteReader {
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        async { read_all(&mut *self.0.lock().await).await }.boxed()
    }

    fn changes_after(&self, seq: Seq) -> BoxFuture<'_, Result<Changes, StoreError>> {
        self.read_after(seq).boxed()
    }

    fn copy_to<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), StoreError>> {
        self.write_copy(path).boxed()
    }

    fn fence_out<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        ready(Err(StoreError::NoOther)).boxed()
    }

    fn levels(&self) -> BoxFuture<'_, Result<Levels, StoreError>> {
        async { Ok(Levels::alone(level(&mut *self.0.lock().await).await?)) }.boxed()
    }

    fn raise(&self, to: Level) -> BoxFuture<'_, Result<Levels, StoreError>> {
        async move {
            let mut reader = self.0.lock().await;
            let raised = level(&mut reader).await?.max(to);
            set_level(raised, &mut reader).await?;
            Ok(Levels::alone(raised))
        }
        .boxed()
    }

    fn keeps_log(&self) -> bool {
        false
    }

    fn log_entries(&self, _: u32, _: u64) -> BoxFuture<'_, Result<LogEntries, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn log_size(&self, _: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        ready(Ok(0)).boxed()
    }

    fn log_entry(&self, _: u32, _: u64) -> BoxFuture<'_, Result<Option<LogRow>, StoreError>> {
        ready(Ok(None)).boxed()
    }

    fn log_unsigned(&self, _: u32, _: u64) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn log_page(&self, _: (Seq, u32, u64)) -> BoxFuture<'_, Result<LogPage, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }
}

/// Everything that is, and the commit that it is of, at one moment.
pub(super) async fn read_all(reader: &mut SqliteConnection) -> Result<Snapshot, StoreError> {
    let mut moment = reader.begin().await?;
    let seq = newest(&mut moment).await?;
    let rows = sqlx::query("SELECT kind, key, value, seq FROM entries")
        .fetch_all(&mut *moment)
        .await?;
    let level = level(&mut moment).await?;
    moment.rollback().await?;
    let entries = rows.iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Snapshot {
        seq,
        entries,
        level,
    })
}

fn entry(row: &SqliteRow) -> Result<Entry, StoreError> {
    let seq = Seq(unsigned(row.try_get("seq")?));
    Ok(Entry {
        kind: Kind::parse(row.try_get("kind")?)?,
        key: row.try_get("key")?,
        value: row.try_get("value")?,
        seq,
    })
}

fn change(row: &SqliteRow) -> Result<(Seq, Part), StoreError> {
    let change = Write {
        kind: Kind::parse(row.try_get("kind")?)?,
        key: row.try_get("key")?,
        value: row.try_get("value")?,
    };
    Ok((Seq(unsigned(row.try_get("seq")?)), Part::Write(change)))
}
