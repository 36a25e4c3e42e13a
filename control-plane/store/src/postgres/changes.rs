//! What commits made, in their order: a page in one statement, which sees one moment.
//!
//! A page is of whole commits. It ends with the commit that reaches its bounds.

use countersign_model::Seq;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::logs::{self, LIMITS};
use crate::commit::Part;
use crate::database::Page;
use crate::fencing::{Known, Present};
use crate::{Committed, Kind, LogSignature, StoreError, Write, signed, unsigned};

/// After commit `$1` and before commit `$2`, `$3` rows and `$4` bytes; and what is at commit `$5`, that is known.
///
/// The sizes of the next rows of each table say with which commit the page ends; to know them no value
/// is read. They are bounded from below alone, so that the index gives them in order whatever the server
/// knows of its tables. Then come the rows, each with the ends of the sequence and with the marks, which are there
/// also where nothing else is.
pub(super) const PAGE: &str = "WITH sizes AS ( \
    (SELECT seq, octet_length(key) + COALESCE(octet_length(value), 0) AS size \
    FROM countersign.changes WHERE seq > $1 ORDER BY seq, position LIMIT $3::bigint + 1) \
    UNION ALL (SELECT seq, octet_length(bytes) \
    FROM countersign.log_entries WHERE seq > $1 ORDER BY seq LIMIT $3::bigint + 1) \
    UNION ALL (SELECT seq, octet_length(bytes) \
    FROM countersign.log_signatures WHERE seq > $1 ORDER BY seq LIMIT $3::bigint + 1) \
    ), page AS (SELECT COALESCE(MIN(seq) FILTER (WHERE amount > $3 OR bytes > $4), MAX(seq)) AS last \
    FROM (SELECT seq, COUNT(*) OVER sums AS amount, SUM(size) OVER sums AS bytes \
    FROM sizes WHERE seq < $2 WINDOW sums AS (ORDER BY seq)) AS summed) \
    SELECT newest, oldest, mark::text AS mark, \
    (SELECT marks.mark::text FROM countersign.marks AS marks WHERE marks.seq = $5) AS known_mark, \
    made.* FROM countersign.sequence LEFT JOIN ( \
    SELECT seq, 0 AS part, position::bigint AS position, kind, key, value, \
    NULL::bigint AS log_id, NULL::bigint AS leaf_index, NULL::bytea AS bytes \
    FROM countersign.changes WHERE seq > $1 AND seq <= (SELECT last FROM page) \
    UNION ALL SELECT seq, 1, NULL, NULL, NULL, NULL, log_id, leaf_index, bytes \
    FROM countersign.log_entries WHERE seq > $1 AND seq <= (SELECT last FROM page) \
    UNION ALL SELECT seq, 2, NULL, NULL, NULL, NULL, log_id, leaf_index, bytes \
    FROM countersign.log_signatures WHERE seq > $1 AND seq <= (SELECT last FROM page) \
    ) AS made ON true WHERE only_row ORDER BY seq, part, position, log_id, leaf_index";

/// What a page may hold.
pub(super) struct Bounds {
    after: i64,
    before: i64,
    rows: i64,
    bytes: i64,
    known: i64,
}

impl Bounds {
    pub(super) fn new(after: Seq, before: Option<Seq>, known: Seq) -> Self {
        let (rows, bytes) = LIMITS;
        Self {
            after: signed(after.0),
            before: before.map_or(i64::MAX, |before| signed(before.0)),
            rows,
            bytes,
            known: signed(known.0),
        }
    }

    pub(super) fn values(&self) -> [&(dyn ToSql + Sync); 5] {
        [
            &self.after,
            &self.before,
            &self.rows,
            &self.bytes,
            &self.known,
        ]
    }
}

/// What rows say of the commit that is known, and of the newest.
pub(super) fn marks(rows: &[Row]) -> Option<(Present, Known)> {
    let row = rows.first()?;
    let newest = Seq(unsigned(row.get("newest")));
    let present = Present {
        newest,
        oldest: Seq(unsigned(row.get("oldest"))),
        mark: row.get("known_mark"),
    };
    let mark = row.get("mark");
    Some((present, Known { seq: newest, mark }))
}

/// The commits after one that rows tell of; `None` where some of them are not kept.
pub(super) fn page(after: Seq, rows: &[Row]) -> Result<Option<Page>, StoreError> {
    let ends = rows
        .first()
        .map(|row| (row.get("oldest"), row.get("newest")));
    let (oldest, newest) = ends.unwrap_or_default();
    if after.0 + 1 < unsigned(oldest) {
        return Ok(None);
    }
    let made = rows
        .iter()
        .filter(|row| row.get::<_, Option<i32>>("part").is_some());
    let commits = Committed::gathered(made.map(part))?;
    Ok(Some(Page::new(Seq(unsigned(newest)), commits)))
}

fn part(row: &Row) -> Result<(Seq, Part), StoreError> {
    let (seq, part) = (Seq(unsigned(row.get("seq"))), row.get::<_, i32>("part"));
    if part == 0 {
        let write = Write {
            kind: Kind::parse(row.get("kind"))?,
            key: row.get("key"),
            value: row.get("value"),
        };
        return Ok((seq, Part::Write(write)));
    }
    let (entry, _) = logs::entry(row);
    let part = match part {
        1 => Part::Entry(entry),
        _ => Part::Signature(LogSignature {
            log_id: entry.log_id,
            index: entry.index,
            bytes: entry.bytes,
        }),
    };
    Ok((seq, part))
}
