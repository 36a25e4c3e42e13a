//! The whole state as it was at one moment. It is read in pages, for a statement that reads all of a large
//! one would take longer than a statement may.

use countersign_model::Seq;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::session::{AnswerError, Session};
use crate::database::Snapshot;
use crate::{Entry, Kind, Level, ROWS_PER_READ, StoreError, unsigned};

/// All that is read here is of the moment of the first statement.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
const NEWEST: &str = "SELECT newest, schema.oldest FROM countersign.sequence, countersign.schema";
/// After kind `$1` and key `$2`, `$3` rows.
const PAGE: &str = "SELECT kind, key, value, seq FROM countersign.entries \
    WHERE (kind, key) > ($1, $2) ORDER BY kind, key LIMIT $3";
/// Rows of a page.
#[allow(clippy::cast_possible_wrap, reason = "a constant that is small")]
const ROWS: i64 = ROWS_PER_READ as i64;

/// What was read.
pub(super) struct Pages {
    newest: Option<Row>,
    rows: Vec<Row>,
}

/// Reads the pages. With an error the session is in a transaction, and is not to be used any more.
pub(super) async fn pages(session: &Session) -> Result<Pages, AnswerError> {
    let client = session.client();
    session.answered(client.batch_execute(BEGIN)).await?;
    let newest = session.answered(client.query_opt(NEWEST, &[])).await?;
    let page = session.answered(client.prepare(PAGE)).await?;
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let last = rows.last();
        let kind: &str = last.map_or("", |row| row.get("kind"));
        let key: &str = last.map_or("", |row| row.get("key"));
        let after: [&(dyn ToSql + Sync); 3] = [&kind, &key, &ROWS];
        let next = session.answered(client.query(&page, &after)).await?;
        if next.is_empty() {
            break;
        }
        rows.extend(next);
    }
    session.answered(client.batch_execute("COMMIT")).await?;
    Ok(Pages { newest, rows })
}

/// The state that pages tell of.
pub(super) fn read(Pages { newest, rows }: Pages) -> Result<Snapshot, StoreError> {
    let seq = newest.as_ref().map(|row| Seq(unsigned(row.get(0))));
    let level = newest.map(|row| Level(row.get(1)));
    Ok(Snapshot {
        seq: seq.unwrap_or_default(),
        entries: rows.iter().map(entry).collect::<Result<_, _>>()?,
        level: level.unwrap_or(Level::FIRST),
    })
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    Ok(Entry {
        kind: Kind::parse(row.get("kind"))?,
        key: row.get("key"),
        value: row.get("value"),
        seq: Seq(unsigned(row.get("seq"))),
    })
}
