//! What is read of the issuance logs: pages, bounded by rows and by bytes.
//!
//! A page ends before the first row that is beyond the bytes, and has one row at least.

use countersign_model::Seq;
use tokio_postgres::Row;

use super::columns::log_id;
use crate::{BYTES_PER_READ, LogEntry, ROWS_PER_READ, unsigned};

/// Most rows, and the bytes after which no more are read.
#[allow(clippy::cast_possible_wrap, reason = "constants that are small")]
pub(super) const LIMITS: (i64, i64) = (ROWS_PER_READ as i64, BYTES_PER_READ as i64);

/// Of log `$1` from `$2` on, `$3` rows and `$4` bytes.
pub(super) const ENTRIES: &str = "SELECT seq, log_id, leaf_index, bytes FROM ( \
    SELECT *, SUM(octet_length(bytes)) OVER (ORDER BY leaf_index) - octet_length(bytes) AS before \
    FROM (SELECT * FROM countersign.log_entries WHERE log_id = $1 AND leaf_index >= $2 \
    ORDER BY leaf_index LIMIT $3) AS next) AS summed WHERE before < $4 ORDER BY leaf_index";

/// Entry `$2` of log `$1`.
pub(super) const ENTRY: &str = "SELECT e.seq, e.log_id, e.leaf_index, e.bytes, s.bytes AS signature \
    FROM countersign.log_entries AS e LEFT JOIN countersign.log_signatures AS s \
    ON s.log_id = e.log_id AND s.leaf_index = e.leaf_index WHERE e.log_id = $1 AND e.leaf_index = $2";

/// Of log `$1` from `$2` on, `$3` rows; no value is read.
pub(super) const UNSIGNED: &str = "SELECT e.leaf_index FROM countersign.log_entries AS e \
    WHERE e.log_id = $1 AND e.leaf_index >= $2 AND NOT EXISTS (SELECT FROM countersign.log_signatures AS s \
    WHERE s.log_id = e.log_id AND s.leaf_index = e.leaf_index) ORDER BY e.leaf_index LIMIT $3";

/// After commit, log and index, `$4` rows and `$5` bytes; of the commit those are left out that are known.
pub(super) const PAGE: &str = "SELECT seq, log_id, leaf_index, bytes, signature FROM ( \
    SELECT *, SUM(octet_length(bytes)) OVER (ORDER BY seq, log_id, leaf_index) \
    - octet_length(bytes) AS before FROM ( \
    SELECT e.seq, e.log_id, e.leaf_index, e.bytes, s.bytes AS signature \
    FROM countersign.log_entries AS e LEFT JOIN countersign.log_signatures AS s \
    ON s.log_id = e.log_id AND s.leaf_index = e.leaf_index \
    WHERE e.seq >= $1 AND (e.seq, e.log_id, e.leaf_index) > ($1, $2, $3) \
    ORDER BY e.seq, e.log_id, e.leaf_index LIMIT $4) AS next) AS summed \
    WHERE before < $5 ORDER BY seq, log_id, leaf_index";

/// The index after the last of a log.
pub(super) const SIZE: &str = "SELECT COALESCE(MAX(leaf_index) + 1, 0) FROM countersign.log_entries \
    WHERE log_id = $1";

pub(super) fn entry(row: &Row) -> (LogEntry, Seq) {
    let entry = LogEntry {
        log_id: log_id(row.get("log_id")),
        index: unsigned(row.get("leaf_index")),
        bytes: row.get("bytes"),
    };
    (entry, Seq(unsigned(row.get("seq"))))
}

pub(super) fn signed_entry(row: &Row) -> (Seq, LogEntry, Option<Vec<u8>>) {
    let (entry, seq) = entry(row);
    (seq, entry, row.get("signature"))
}
