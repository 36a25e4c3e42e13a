//! What the writer asks of the database within a transaction.

use countersign_model::Seq;
use sqlx::sqlite::SqliteConnection;

use super::{Precondition, Write, signed};

/// How many of the newest commits keep their writes.
const RETAINED_COMMITS: u64 = 100_000;
/// Old writes are removed once in so many commits.
const TRIM_EVERY: u64 = 1_024;

/// Makes `writes` as commit `seq` where every precondition holds; whether they do.
pub(super) async fn commit(
    seq: Seq,
    writes: &[Write],
    preconditions: &[Precondition],
    connection: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    for precondition in preconditions {
        if !holds(precondition, connection).await? {
            return Ok(false);
        }
    }
    for write in writes {
        make(seq, write, connection).await?;
    }
    Ok(true)
}

async fn holds(
    precondition: &Precondition,
    connection: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    let (kind, key, expected) = match precondition {
        Precondition::Absent(kind, key) => (kind, key, None),
        Precondition::Unchanged(kind, key, seq) => (kind, key, Some(signed(seq.0))),
    };
    let found: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM entries WHERE kind = ? AND key = ?")
            .bind(kind.as_str())
            .bind(key)
            .fetch_optional(connection)
            .await?;
    Ok(found == expected)
}

async fn make(
    seq: Seq,
    write: &Write,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    match &write.value {
        Some(value) => {
            sqlx::query("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)")
                .bind(write.kind.as_str())
                .bind(&write.key)
                .bind(value)
                .bind(signed(seq.0))
                .execute(&mut *connection)
                .await?;
        }
        None => {
            sqlx::query("DELETE FROM entries WHERE kind = ? AND key = ?")
                .bind(write.kind.as_str())
                .bind(&write.key)
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query("INSERT INTO changes (seq, kind, key, value) VALUES (?, ?, ?, ?)")
        .bind(signed(seq.0))
        .bind(write.kind.as_str())
        .bind(&write.key)
        .bind(&write.value)
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes the writes of old commits, now and then.
pub(super) async fn trim(
    newest: Seq,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    if !newest.0.is_multiple_of(TRIM_EVERY) {
        return Ok(());
    }
    sqlx::query("DELETE FROM changes WHERE seq < ?")
        .bind(signed(newest.0.saturating_sub(RETAINED_COMMITS)))
        .execute(connection)
        .await?;
    Ok(())
}
