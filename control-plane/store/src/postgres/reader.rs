//! Reads beside the writer, in a session of their own that is opened anew where it ended.

use std::path::Path;

use countersign_model::Seq;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::session::{AnswerError, Session};
use super::{Address, changes, fence, levels, logs, snapshot};
use crate::database::{Changes, Reader, Snapshot};
use crate::{
    DatabaseError, Level, Levels, LogEntries, LogPage, LogRow, StoreError, signed, sqlite, unsigned,
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

    /// The session, or a new one where it ended.
    async fn opened(&self, held: Option<Session>) -> Result<Session, DatabaseError> {
        match held {
            Some(session) if !session.client().is_closed() => Ok(session),
            _ => Session::open(&self.address).await,
        }
    }

    /// Does something in the session. One in which it failed is not used again.
    async fn in_session<T>(
        &self,
        done: impl AsyncFnOnce(&Session) -> Result<T, AnswerError>,
    ) -> Result<T, StoreError> {
        let mut held = self.session.lock().await;
        let session = self.opened(held.take()).await?;
        let done = done(&session).await.map_err(DatabaseError::from)?;
        *held = Some(session);
        Ok(done)
    }

    async fn rows(
        &self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let asked =
            async |session: &Session| session.answered(session.client().query(sql, values)).await;
        self.in_session(asked).await
    }

    /// Entries, and the commit that they are of: pages of one transaction, which sees one moment.
    async fn read_all(&self) -> Result<Snapshot, StoreError> {
        snapshot::read(self.in_session(snapshot::pages).await?)
    }

    async fn read_after(&self, seq: Seq) -> Result<Changes, StoreError> {
        let bounds = changes::Bounds::new(seq, None, Seq(0));
        let rows = self.rows(changes::PAGE, &bounds.values()).await?;
        Ok(changes::page(seq, &rows)?.map(|page| page.commits))
    }

    async fn read_log(&self, log_id: u32, from: u64) -> Result<LogEntries, StoreError> {
        let (rows, bytes) = logs::LIMITS;
        let (log_id, from) = (i64::from(log_id), signed(from));
        let rows = self
            .rows(logs::ENTRIES, &[&log_id, &from, &rows, &bytes])
            .await?;
        Ok(rows.iter().map(logs::entry).collect())
    }

    async fn read_log_size(&self, log_id: u32) -> Result<u64, StoreError> {
        let rows = self.rows(logs::SIZE, &[&i64::from(log_id)]).await?;
        Ok(rows.first().map_or(0, |row| unsigned(row.get(0))))
    }

    async fn read_log_page(
        &self,
        (seq, log_id, index): (Seq, u32, u64),
    ) -> Result<LogPage, StoreError> {
        let (rows, bytes) = logs::LIMITS;
        let (seq, log_id, index) = (signed(seq.0), i64::from(log_id), signed(index));
        let values: [&(dyn ToSql + Sync); 5] = [&seq, &log_id, &index, &rows, &bytes];
        let rows = self.rows(logs::PAGE, &values).await?;
        Ok(rows.iter().map(logs::signed_entry).collect())
    }

    async fn read_log_entry(&self, log_id: u32, index: u64) -> Result<Option<LogRow>, StoreError> {
        let (log_id, index) = (i64::from(log_id), signed(index));
        let rows = self.rows(logs::ENTRY, &[&log_id, &index]).await?;
        Ok(rows.first().map(logs::signed_entry))
    }

    async fn read_log_unsigned(&self, log_id: u32, from: u64) -> Result<Vec<u64>, StoreError> {
        let (rows, _) = logs::LIMITS;
        let (log_id, from) = (i64::from(log_id), signed(from));
        let rows = self.rows(logs::UNSIGNED, &[&log_id, &from, &rows]).await?;
        Ok(rows.iter().map(|row| unsigned(row.get(0))).collect())
    }

    /// Whoever reads meanwhile does so in another session: nobody waits for a copy. Who makes backups makes one at
    /// a time, so there are two sessions at most, and one afterwards.
    async fn write_copy(&self, path: &Path) -> Result<(), StoreError> {
        let held = self.session.lock().await.take();
        let session = self.opened(held).await?;
        let pages = snapshot::pages(&session).await;
        let pages = pages.map_err(DatabaseError::from)?;
        self.session.lock().await.get_or_insert(session);
        sqlite::write_copy(path, &snapshot::read(pages)?).await
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

    fn fence_out<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let fence = async move |session: &Session| fence::fence_out(session, name).await;
        self.in_session(fence).boxed()
    }

    fn levels(&self) -> BoxFuture<'_, Result<Levels, StoreError>> {
        self.in_session(levels::levels).boxed()
    }

    fn raise(&self, to: Level) -> BoxFuture<'_, Result<Levels, StoreError>> {
        let raise = async move |session: &Session| levels::raise(session, to).await;
        self.in_session(raise).boxed()
    }

    fn keeps_log(&self) -> bool {
        true
    }

    fn log_entries(&self, log_id: u32, from: u64) -> BoxFuture<'_, Result<LogEntries, StoreError>> {
        self.read_log(log_id, from).boxed()
    }

    fn log_size(&self, log_id: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.read_log_size(log_id).boxed()
    }

    fn log_entry(
        &self,
        log_id: u32,
        index: u64,
    ) -> BoxFuture<'_, Result<Option<LogRow>, StoreError>> {
        self.read_log_entry(log_id, index).boxed()
    }

    fn log_unsigned(&self, log_id: u32, from: u64) -> BoxFuture<'_, Result<Vec<u64>, StoreError>> {
        self.read_log_unsigned(log_id, from).boxed()
    }

    fn log_page(&self, after: (Seq, u32, u64)) -> BoxFuture<'_, Result<LogPage, StoreError>> {
        self.read_log_page(after).boxed()
    }
}
