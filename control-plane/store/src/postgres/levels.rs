//! The level of the database, what each writer speaks, and the one way to raise it.
//!
//! A writer says what it speaks in the statement that takes its row, and a trigger of the schema refuses the
//! statement of one that speaks too little, also of programs that know no levels. Whoever raises the level
//! holds the row of the schema and then those of all writers, in this order, as each who takes a row does, for
//! the trigger runs before a row is inserted: so a row is taken before, and counts, or after, and is refused.

use tokio_postgres::types::ToSql;

use super::session::{AnswerError, Session};
use super::statements::FENCED;
use crate::{Kind, Level, Levels};

/// Names that are no control plane's do not count: an invitation that was withdrawn leaves one.
const SPEAKERS: &str = "SELECT oldest, name, COALESCE(CASE WHEN speaks_run = run THEN speaks END, 1) \
     FROM countersign.schema LEFT JOIN countersign.writers ON instance <> $1 AND EXISTS \
     (SELECT FROM countersign.entries WHERE kind = $2 AND key = name) ORDER BY name";

/// What is there.
pub(super) async fn levels(session: &Session) -> Result<Levels, AnswerError> {
    let names: [&(dyn ToSql + Sync); 2] = [&FENCED, &Kind::Replica.as_str()];
    let rows = session.answered(session.client().query(SPEAKERS, &names));
    let rows = rows.await?;
    let speaker = |row: &tokio_postgres::Row| {
        let name: Option<String> = row.get(1);
        Some((name?, Level(row.get(2))))
    };
    Ok(Levels {
        level: rows.first().map_or(Level::FIRST, |row| Level(row.get(0))),
        speakers: rows.iter().filter_map(speaker).collect(),
    })
}

/// Raises the level where nobody is in the way. Says what is there afterwards.
pub(super) async fn raise(session: &Session, to: Level) -> Result<Levels, AnswerError> {
    let client = session.client();
    session.answered(client.batch_execute("BEGIN")).await?;
    let held = "SELECT FROM countersign.schema FOR UPDATE; \
                SELECT FROM countersign.writers ORDER BY name FOR UPDATE";
    session.answered(client.batch_execute(held)).await?;
    // Those too that were made while the lock was waited for.
    let found = levels(session).await?;
    if found.level >= to || found.in_the_way(to).next().is_some() {
        session.answered(client.batch_execute("ROLLBACK")).await?;
        return Ok(found);
    }
    session.forget_warnings();
    let raised = "UPDATE countersign.schema SET oldest = $1";
    session.answered(client.execute(raised, &[&to.0])).await?;
    session.answered(client.batch_execute("COMMIT")).await?;
    session.unwarned()?;
    Ok(Levels { level: to, ..found })
}
