//! Reads beside the writer, on a connection of their own.

use std::path::Path;

use countersign_model::Seq;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, Row};
use tokio::sync::Mutex;

use super::statements::newest;
use crate::database::{Changes, Reader, Snapshot};
use crate::{Entry, Kind, ROWS_PER_READ, StoreError, Write, signed, unsigned};

/// The reading connection.
#[derive(Debug)]
pub(crate) struct SqliteReader(pub(super) Mutex<SqliteConnection>);

impl SqliteReader {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self(Mutex::new(connection))
    }

    async fn read_after(&self, seq: Seq) -> Result<Changes, StoreError> {
        let mut reader = self.0.lock().await;
        let rows = sqlx::query(
            "SELECT seq, kind, key, value FROM changes WHERE seq > ?1 AND seq <= COALESCE( \
             (SELECT seq FROM changes WHERE seq > ?1 ORDER BY id LIMIT 1 OFFSET ?2), ?3) \
             ORDER BY id",
        )
        .bind(signed(seq.0))
        .bind(signed(ROWS_PER_READ as u64))
        .bind(i64::MAX)
        .fetch_all(&mut *reader)
        .await?;
        // After the rows: old commits are removed meanwhile, and never come back.
        let oldest: Option<i64> = sqlx::query_scalar("SELECT MIN(seq) FROM changes")
            .fetch_one(&mut *reader)
            .await?;
        if oldest.is_some_and(|oldest| seq.0 + 1 < unsigned(oldest)) {
            return Ok(None);
        }
        rows.iter().map(change).collect::<Result<_, _>>().map(Some)
    }

    async fn write_copy(&self, path: &Path) -> Result<(), StoreError> {
        let path = path.to_string_lossy().into_owned();
        let mut reader = self.0.lock().await;
        sqlx::query("VACUUM INTO ?")
            .bind(path)
            .execute(&mut *reader)
            .await?;
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
}

/// Everything that is, and the commit that it is of, at one moment.
pub(super) async fn read_all(reader: &mut SqliteConnection) -> Result<Snapshot, StoreError> {
    let mut moment = reader.begin().await?;
    let seq = newest(&mut moment).await?;
    let rows = sqlx::query("SELECT kind, key, value, seq FROM entries")
        .fetch_all(&mut *moment)
        .await?;
    moment.rollback().await?;
    let entries = rows.iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Snapshot { seq, entries })
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

fn change(row: &SqliteRow) -> Result<(Seq, Write), StoreError> {
    let change = Write {
        kind: Kind::parse(row.try_get("kind")?)?,
        key: row.try_get("key")?,
        value: row.try_get("value")?,
    };
    Ok((Seq(unsigned(row.try_get("seq")?)), change))
}
