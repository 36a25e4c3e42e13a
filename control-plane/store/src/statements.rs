//! What the writer asks of the database within a transaction.

use countersign_model::Seq;
use sqlx::sqlite::SqliteConnection;

use super::{Change, Precondition, signed};

/// How many of the newest commits keep their changes.
const RETAINED_COMMITS: u64 = 100_000;
/// Old changes are removed once in so many commits.
const TRIM_EVERY: u64 = 1_024;

/// Writes `changes` as commit `seq` where every precondition holds; whether they do.
pub(super) async fn commit(
    seq: Seq,
    changes: &[Change],
    preconditions: &[Precondition],
    connection: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    for precondition in preconditions {
        if !holds(precondition, connection).await? {
            return Ok(false);
        }
    }
    for change in changes {
        write(seq, change, connection).await?;
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

async fn write(
    seq: Seq,
    change: &Change,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    match &change.value {
        Some(value) => {
            sqlx::query("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)")
                .bind(change.kind.as_str())
                .bind(&change.key)
                .bind(value)
                .bind(signed(seq.0))
                .execute(&mut *connection)
                .await?;
        }
        None => {
            sqlx::query("DELETE FROM entries WHERE kind = ? AND key = ?")
                .bind(change.kind.as_str())
                .bind(&change.key)
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query("INSERT INTO changes (seq, kind, key, value) VALUES (?, ?, ?, ?)")
        .bind(signed(seq.0))
        .bind(change.kind.as_str())
        .bind(&change.key)
        .bind(&change.value)
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes the changes of old commits, now and then.
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
