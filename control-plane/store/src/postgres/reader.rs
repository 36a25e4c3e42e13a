//! Reads beside the writer, in a session of their own that is opened anew where it ended.

use std::path::Path;

use countersign_model::Seq;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::Address;
use super::session::{AnswerError, Session};
use crate::database::{Changes, Reader, Snapshot};
use crate::{
    DatabaseError, Entry, Kind, ROWS_PER_READ, StoreError, Write, signed, sqlite, unsigned,
};

/// The reading session.
#[derive(Debug)]
pub(crate) struct PostgresReader {
    address: Address,
    session: Mutex<Option<Session>>,
}

impl PostgresReader {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            session: Mutex::default(),
        }
    }

    /// Asks, in a new session where the old one ended. One that did not answer is not asked again.
    async fn rows(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let mut held = self.session.lock().await;
        let session = match held.take() {
            Some(session) if !session.client().is_closed() => session,
            _ => Session::open(&self.address).await?,
        };
        let answer: Result<_, AnswerError> =
            session.answered(session.client().query(sql, values)).await;
        let rows = answer.map_err(DatabaseError::from)?;
        *held = Some(session);
        Ok(rows)
    }

    /// Entries and the commit that they are of, in one statement: it sees one moment.
    async fn read_all(&self) -> Result<Snapshot, StoreError> {
        let sql = "SELECT newest, kind, key, value, seq FROM countersign.sequence \
                   LEFT JOIN countersign.entries ON true";
        let rows = self.rows(sql, &[]).await?;
        let newest = rows.first().map(|row| Seq(unsigned(row.get(0))));
        let rows = rows
            .iter()
            .filter(|row| row.get::<_, Option<&str>>(1).is_some());
        Ok(Snapshot {
            seq: newest.unwrap_or_default(),
            entries: rows.map(entry).collect::<Result<_, _>>()?,
        })
    }

    async fn read_after(&self, seq: Seq) -> Result<Changes, StoreError> {
        let sql = "SELECT seq, kind, key, value FROM countersign.changes WHERE seq > $1 AND \
                   seq <= COALESCE((SELECT seq FROM countersign.changes WHERE seq > $1 \
                   ORDER BY seq, position LIMIT 1 OFFSET $2), $3) ORDER BY seq, position";
        let rows = self
            .rows(
                sql,
                &[&signed(seq.0), &signed(ROWS_PER_READ as u64), &i64::MAX],
            )
            .await?;
        // After the rows: old commits are removed meanwhile, and never come back.
        let oldest = self
            .rows("SELECT MIN(seq) FROM countersign.changes", &[])
            .await?;
        let oldest: Option<i64> = oldest.first().and_then(|row| row.get(0));
        if oldest.is_some_and(|oldest| seq.0 + 1 < unsigned(oldest)) {
            return Ok(None);
        }
        rows.iter().map(change).collect::<Result<_, _>>().map(Some)
    }

    async fn write_copy(&self, path: &Path) -> Result<(), StoreError> {
        let Snapshot { seq, entries } = self.read_all().await?;
        sqlite::write_copy(path, seq, &entries).await
    }
}

impl Reader for PostgresReader {
    fn snapshot(&self) -> BoxFuture<'_, Result<Snapshot, StoreError>> {
        self.read_all().boxed()
    }

    fn changes_after(&self, seq: Seq) -> BoxFuture<'_, Result<Changes, StoreError>> {
        self.read_after(seq).boxed()
    }

    fn copy_to<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<(), StoreError>> {
        self.write_copy(path).boxed()
    }
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    Ok(Entry {
        kind: Kind::parse(row.get("kind"))?,
        key: row.get("key"),
        value: row.get("value"),
        seq: Seq(unsigned(row.get("seq"))),
    })
}

fn change(row: &Row) -> Result<(Seq, Write), StoreError> {
    let change = Write {
        kind: Kind::parse(row.get("kind"))?,
        key: row.get("key"),
        value: row.get("value"),
    };
    Ok((Seq(unsigned(row.get("seq"))), change))
}
