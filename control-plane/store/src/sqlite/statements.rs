//! What the writer asks of SQLite within a transaction.

use countersign_model::Seq;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use crate::database::Found;
use crate::{COPIED, Entry, Kind, Level, RETAINED_COMMITS, TRIM_EVERY, Write, signed, unsigned};

/// The newest commit.
pub(super) async fn newest(connection: &mut SqliteConnection) -> Result<Seq, sqlx::Error> {
    let newest: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(seq), 0) FROM changes")
        .fetch_one(connection)
        .await?;
    Ok(Seq(unsigned(newest)))
}

/// The level, where SQLite keeps a number for its users; programs from before there were levels left it 0.
pub(super) async fn level(connection: &mut SqliteConnection) -> Result<Level, sqlx::Error> {
    let level: i32 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(connection)
        .await?;
    Ok(Level(level).max(Level::FIRST))
}

pub(super) async fn set_level(
    level: Level,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    // No value can be bound there; this is a number.
    let set = format!("PRAGMA user_version = {}", level.0);
    sqlx::raw_sql(AssertSqlSafe(set))
        .execute(connection)
        .await?;
    Ok(())
}

/// Which commits wrote the values of these names.
pub(super) async fn seqs(
    names: impl Iterator<Item = (Kind, &str)>,
    connection: &mut SqliteConnection,
) -> Result<Found, sqlx::Error> {
    let mut found = Found::default();
    for (kind, key) in names {
        let seq: Option<i64> =
            sqlx::query_scalar("SELECT seq FROM entries WHERE kind = ? AND key = ?")
                .bind(kind.as_str())
                .bind(key)
                .fetch_optional(&mut *connection)
                .await?;
        if let Some(seq) = seq {
            found
                .values
                .insert((kind, key.to_owned()), Seq(unsigned(seq)));
        }
    }
    Ok(found)
}

/// Puts an entry where it was, without a change.
pub(super) async fn put(
    entry: &Entry,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    put_value(entry.seq, entry.kind, &entry.key, &entry.value, connection).await
}

/// Says which commit is the newest, by a removal of what is not there.
pub(super) async fn mark(seq: Seq, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO changes (seq, kind, key) VALUES (?, ?, ?)")
        .bind(signed(seq.0))
        .bind(Kind::Meta.as_str())
        .bind(COPIED)
        .execute(connection)
        .await?;
    Ok(())
}

async fn put_value(
    seq: Seq,
    kind: Kind,
    key: &str,
    value: &str,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)")
        .bind(kind.as_str())
        .bind(key)
        .bind(value)
        .bind(signed(seq.0))
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes one write as part of commit `seq`.
pub(super) async fn make(
    seq: Seq,
    write: &Write,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    match &write.value {
        Some(value) => {
            put_value(seq, write.kind, &write.key, value, connection).await?;
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

/// Whether a commit after `before`, up to `last`, is there, and which is the newest of all.
pub(super) async fn find(
    before: Seq,
    last: Seq,
    connection: &mut SqliteConnection,
) -> Result<(bool, Seq), sqlx::Error> {
    let (found, newest): (bool, i64) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM changes WHERE seq > ? AND seq <= ?), \
         (SELECT COALESCE(MAX(seq), 0) FROM changes)",
    )
    .bind(signed(before.0))
    .bind(signed(last.0))
    .fetch_one(connection)
    .await?;
    Ok((found, Seq(unsigned(newest))))
}

/// Removes the writes of old commits, now and then.
pub(super) async fn trim(
    before: Seq,
    newest: Seq,
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    if before.0 / TRIM_EVERY == newest.0 / TRIM_EVERY {
        return Ok(());
    }
    sqlx::query("DELETE FROM changes WHERE seq < ?")
        .bind(signed(newest.0.saturating_sub(RETAINED_COMMITS)))
        .execute(connection)
        .await?;
    Ok(())
}
