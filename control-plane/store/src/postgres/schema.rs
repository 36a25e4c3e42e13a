//! The tables, and how they change: under a lock, one version after the other.
//!
//! The row of the version also says which programs may use what is there: the [level](crate::level). Those of the
//! version before run beside those of this one while a fleet is upgraded, so a version adds. What takes away is
//! made by a later one, whose [`OLDEST`] is a level that nobody below speaks.

use super::session::{AnswerError, Session};
use crate::{DatabaseError, StoreError};

/// The schema that this program writes.
pub const VERSION: i32 = 3;
/// The lowest level that this program reads and writes, and that its schema lets others speak.
const OLDEST: i32 = 1;
/// What makes each version of the one before it.
const STEPS: [&str; 3] = [
    include_str!("../../migrations/postgres/0001_commit_log.sql"),
    include_str!("../../migrations/postgres/0002_issuance_logs.sql"),
    include_str!("../../migrations/postgres/0003_levels.sql"),
];
/// Where the version stands, in the only row.
const TABLE_OF_VERSIONS: &str = "CREATE TABLE IF NOT EXISTS countersign.schema ( \
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), \
    version integer NOT NULL, oldest integer NOT NULL); \
    INSERT INTO countersign.schema (version, oldest) VALUES (0, 0) ON CONFLICT DO NOTHING";
/// Two that begin at the same moment are in each other's way so often at most.
const TRIES: usize = 5;
/// Codes of SQL: no such table, no such schema.
const ABSENT: [&str; 2] = ["42P01", "3F000"];
/// Somebody else made it, a moment ago.
const MADE_MEANWHILE: [&str; 5] = ["23505", "42P06", "42P07", "42710", "40001"];
/// The role may not do it.
const FORBIDDEN: &str = "42501";

/// The version of what is there, and the oldest program that may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The schema.
    pub(super) version: i32,
    /// The level: the oldest program.
    pub(super) oldest: i32,
}

/// What is there; `None` before the first start.
pub(super) async fn version(session: &Session) -> Result<Option<Version>, StoreError> {
    let asked = "SELECT version, oldest FROM countersign.schema";
    let answer = session.answered(session.client().query_opt(asked, &[]));
    match answer.await {
        Ok(row) => Ok(row.map(|row| Version {
            version: row.get(0),
            oldest: row.get(1),
        })),
        Err(error) if ABSENT.contains(&error.code().unwrap_or_default()) => Ok(None),
        Err(error) if error.code() == Some(FORBIDDEN) => Err(forbidden(&error)),
        Err(error) => Err(DatabaseError::from(error).into()),
    }
}

/// Brings the schema up to date where it is not. Returns what was there.
pub(super) async fn migrate(session: &Session) -> Result<Option<Version>, StoreError> {
    let before = version(session).await?;
    if is_usable(before)? {
        is_granted(session).await?;
        return Ok(before);
    }
    let mut tries = 1;
    loop {
        match step(session).await {
            Ok(()) => break,
            Err(error)
                if tries < TRIES && MADE_MEANWHILE.contains(&error.code().unwrap_or_default()) =>
            {
                tries += 1;
            }
            Err(error) if error.code() == Some(FORBIDDEN) => return Err(forbidden(&error)),
            Err(error) => return Err(DatabaseError::from(error).into()),
        }
    }
    // It may have been another program, which knows more.
    is_usable(version(session).await?)?;
    is_granted(session).await?;
    Ok(before)
}

/// An error where the role may not use the tables of the newest version: those before it were granted to
/// it, and these were made later, by their owner.
async fn is_granted(session: &Session) -> Result<(), StoreError> {
    let asked = "SELECT FROM countersign.log_entries, countersign.log_signatures, countersign.marks LIMIT 0";
    let answer = session.answered(session.client().batch_execute(asked));
    match answer.await {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(FORBIDDEN) => Err(forbidden(&error)),
        Err(error) => Err(DatabaseError::from(error).into()),
    }
}

/// Whether this program may use what is there as it is; an error where it may not at all.
pub(super) fn is_usable(present: Option<Version>) -> Result<bool, StoreError> {
    let Some(Version { version, oldest }) = present else {
        return Ok(false);
    };
    if oldest > VERSION {
        return Err(StoreError::Schema(format!(
            "it is of version {version} and at level {oldest}, which programs of version {oldest} and later may \
             use; this one is of version {VERSION}: install the newer release"
        )));
    }
    // An empty one is at none.
    if version > 0 && oldest < OLDEST {
        return Err(StoreError::Schema(format!(
            "it is at level {oldest}, and this program needs level {OLDEST}: start the release before it on every \
             control plane, raise the level with `countersign replica raise`, and upgrade then"
        )));
    }
    Ok(version >= VERSION)
}

/// Makes what is missing in one transaction, behind the lock on the one row.
async fn step(session: &Session) -> Result<(), AnswerError> {
    let done = locked_step(session).await;
    if done.is_err() {
        // Also where it was not begun. The error that counts is the one before.
        let _ = session
            .answered(session.client().batch_execute("ROLLBACK"))
            .await;
    }
    done
}

async fn locked_step(session: &Session) -> Result<(), AnswerError> {
    let client = session.client();
    let present = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'countersign'";
    session.answered(client.batch_execute("BEGIN")).await?;
    // Asked for, since making one that is there already needs a right that its owner may withhold.
    if session
        .answered(client.query_opt(present, &[]))
        .await?
        .is_none()
    {
        session
            .answered(client.batch_execute("CREATE SCHEMA countersign"))
            .await?;
    }
    session
        .answered(client.batch_execute(TABLE_OF_VERSIONS))
        .await?;
    let locked = "SELECT version FROM countersign.schema FOR UPDATE";
    let row = session.answered(client.query_one(locked, &[])).await?;
    let from = usize::try_from(row.get::<_, i32>(0)).unwrap_or_default();
    for sql in STEPS.iter().skip(from) {
        session.answered(client.batch_execute(sql)).await?;
    }
    // Nobody older uses what is made now.
    let level = if from == 0 { VERSION } else { OLDEST };
    let newer = "UPDATE countersign.schema SET version = $1, oldest = GREATEST(oldest, $2) WHERE version < $1";
    session
        .answered(client.execute(newer, &[&VERSION, &level]))
        .await?;
    session.answered(client.batch_execute("COMMIT")).await
}

fn forbidden(error: &AnswerError) -> StoreError {
    StoreError::Schema(format!(
        "the role may not make or use its tables ({error}): run `countersign store migrate` once as \
         the owner of the database, with --grant-to and this role"
    ))
}
