//! What the writer asks of PostgreSQL. What does not wait for an answer is sent together.

use countersign_model::Seq;
use futures_util::future::{try_join, try_join_all, try_join3, try_join5};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row as Answer, Statement};

use super::WriterName;
use super::changes;
use super::columns::{LogRows, Rows, log_id, named};
use super::session::{AnswerError, Session};
use crate::database::{Found, Places, asked, last};
use crate::fencing::{FENCE_STEP, Known, Present, Row};
use crate::{
    Commit, DatabaseError, Kind, Level, RETAINED_COMMITS, StoreError, TRIM_EVERY, signed, unsigned,
};

/// What is asked for again and again, in the order of the fields of [`Statements`].
const PREPARED: [&str; 13] = [
    "UPDATE countersign.writers SET batch = $2 + 1 \
     WHERE name = $1 AND batch = $2 AND run::text = $3",
    "SELECT newest, oldest FROM countersign.sequence FOR UPDATE",
    MARK,
    "SELECT kind, key, seq FROM countersign.entries WHERE (kind, key) IN \
     (SELECT * FROM unnest($1::text[], $2::text[]))",
    "INSERT INTO countersign.entries (kind, key, value, seq) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) \
     ON CONFLICT (kind, key) DO UPDATE SET value = EXCLUDED.value, seq = EXCLUDED.seq",
    "DELETE FROM countersign.entries WHERE (kind, key) IN \
     (SELECT * FROM unnest($1::text[], $2::text[]))",
    "INSERT INTO countersign.changes (seq, position, kind, key, value) SELECT * FROM \
     unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[])",
    "UPDATE countersign.sequence SET newest = $1, oldest = GREATEST(oldest, $2) RETURNING mark::text",
    "DELETE FROM countersign.changes WHERE seq < $1",
    "INSERT INTO countersign.log_entries (log_id, leaf_index, seq, bytes) SELECT * FROM \
     unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])",
    "INSERT INTO countersign.log_signatures (log_id, leaf_index, seq, bytes) SELECT * FROM \
     unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[]) ON CONFLICT DO NOTHING",
    "SELECT log_id, leaf_index FROM countersign.log_entries WHERE (log_id, leaf_index) IN \
     (SELECT * FROM unnest($1::bigint[], $2::bigint[]))",
    changes::PAGE,
];
/// What tells a commit from another one in its place.
const MARK: &str = "SELECT mark::text FROM countersign.marks WHERE seq = $1";
/// The instance of a writer that was fenced out: no data directory has it.
pub(super) const FENCED: &str = "fenced out";
/// The channel on which a commit is told of.
pub(super) const CHANNEL: &str = "countersign_commits";

/// Statements that the server has read once for a session.
#[derive(Debug)]
pub(super) struct Statements {
    fence: Statement,
    lock: Statement,
    mark: Statement,
    find: Statement,
    put: Statement,
    remove: Statement,
    change: Statement,
    sequence: Statement,
    trim: Statement,
    log: Statement,
    sign: Statement,
    find_logged: Statement,
    changes: Statement,
    /// Whether those who follow are told of a commit: not every database can.
    notifies: bool,
}

/// How a transaction begins.
pub(super) struct Begun {
    /// Whether the row of the writer is as this process left it.
    pub(super) is_ours: bool,
    /// The newest commit, and what is at the one that is known.
    pub(super) present: Present,
    pub(super) found: Found,
}

impl Statements {
    pub(super) async fn prepare(session: &Session) -> Result<Self, DatabaseError> {
        let client = session.client();
        let prepared = try_join_all(PREPARED.iter().map(|sql| client.prepare(sql)));
        let prepared = session.answered(prepared).await?;
        let prepared = <[Statement; PREPARED.len()]>::try_from(prepared);
        let [
            fence,
            lock,
            mark,
            find,
            put,
            remove,
            change,
            sequence,
            trim,
            log,
            sign,
            find_logged,
            changes,
        ] = prepared.expect("each is prepared or none");
        let notify = format!("NOTIFY {CHANNEL}");
        let notified = session.answered(client.batch_execute(&notify)).await;
        let notifies = match notified {
            Ok(()) => true,
            Err(error) if error.code().is_some() => false,
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            fence,
            lock,
            mark,
            find,
            put,
            remove,
            change,
            sequence,
            trim,
            log,
            sign,
            find_logged,
            changes,
            notifies,
        })
    }

    /// Sends no notices any more, as to a database that has none.
    #[cfg(test)]
    pub(super) fn silence(&mut self) {
        self.notifies = false;
    }

    /// The newest commit.
    pub(super) async fn newest(&self, session: &Session) -> Result<Known, DatabaseError> {
        let asked = "SELECT newest, mark::text FROM countersign.sequence";
        let row = session
            .answered(session.client().query_one(asked, &[]))
            .await?;
        Ok(Known {
            seq: Seq(unsigned(row.get(0))),
            mark: row.get(1),
        })
    }

    /// The mark of a commit.
    pub(super) async fn mark_of(
        &self,
        session: &Session,
        seq: Seq,
    ) -> Result<Option<String>, AnswerError> {
        let seq = signed(seq.0);
        let asked: [&(dyn ToSql + Sync); 1] = [&seq];
        let row = session.answered(session.client().query_opt(&self.mark, &asked));
        Ok(row.await?.map(|row| row.get(0)))
    }

    /// Takes the row of a writer for this process, which speaks a level; `None` where another instance has
    /// the name.
    pub(super) async fn take(
        &self,
        session: &Session,
        writer: &WriterName,
        speaks: Level,
    ) -> Result<Option<Row>, StoreError> {
        let taken = "INSERT INTO countersign.writers AS w \
                     (name, instance, batch, run, speaks, speaks_run) \
                     SELECT $1, $2, 0, run, $3, run FROM gen_random_uuid() AS run \
                     ON CONFLICT (name) DO UPDATE SET batch = w.batch + 1, run = EXCLUDED.run, \
                     speaks = EXCLUDED.speaks, speaks_run = EXCLUDED.run \
                     WHERE w.instance = EXCLUDED.instance RETURNING run::text, batch, instance";
        let said: [&(dyn ToSql + Sync); 3] = [&writer.name, &writer.instance, &speaks.0];
        let taken = session.answered(session.client().query_opt(taken, &said));
        let row = taken.await.map_err(DatabaseError::from)?;
        Ok(row.map(|it| writer_row(&it)))
    }

    /// The row of a writer.
    pub(super) async fn row_of(
        &self,
        session: &Session,
        name: &str,
    ) -> Result<Option<Row>, AnswerError> {
        let asked = "SELECT run::text, batch, instance FROM countersign.writers WHERE name = $1";
        found(session, name, asked).await
    }

    /// The same, after every transaction that may still change it.
    pub(super) async fn locked_row_of(
        &self,
        session: &Session,
        name: &str,
    ) -> Result<Option<Row>, AnswerError> {
        let locked = "SELECT run::text, batch, instance FROM countersign.writers WHERE name = $1 \
                      FOR UPDATE";
        found(session, name, locked).await
    }

    /// Begins a transaction: takes the row of the writer, then that of the sequence, always in this
    /// order, and reads what the preconditions ask for, and what is at the commit that is known.
    ///
    /// Whether an entry of a log is there already its insert says by itself. Which one it is is asked where
    /// a try before this one failed.
    pub(super) async fn begin(
        &self,
        session: &Session,
        (name, row, known): (&str, &Row, Seq),
        commits: &[Commit],
        is_again: bool,
    ) -> Result<Begun, AnswerError> {
        let client = session.client();
        let known = signed(known.0);
        let marked: [&(dyn ToSql + Sync); 1] = [&known];
        let fence: [&(dyn ToSql + Sync); 3] = [&name, &row.batch, &row.run];
        let begun = try_join5(
            client.batch_execute("BEGIN"),
            client.execute(&self.fence, &fence),
            try_join(
                client.query_one(&self.lock, &[]),
                client.query_opt(&self.mark, &marked),
            ),
            self.find_values(session, commits),
            self.find_logged(session, commits, is_again),
        );
        let ((), fenced, (ends, mark), values, logged) = session.answered(begun).await?;
        let values = values.iter().filter_map(|row| {
            let kind = Kind::parse(row.get(0)).ok()?;
            Some(((kind, row.get(1)), Seq(unsigned(row.get(2)))))
        });
        let logged = logged.iter();
        Ok(Begun {
            is_ours: fenced == 1,
            present: Present {
                newest: Seq(unsigned(ends.get(0))),
                oldest: Seq(unsigned(ends.get(1))),
                mark: mark.map(|row| row.get(0)),
            },
            found: Found {
                values: values.collect(),
                entries: logged
                    .map(|row| (log_id(row.get(0)), unsigned(row.get(1))))
                    .collect(),
            },
        })
    }

    /// What others committed, and all that was.
    pub(super) async fn changes(
        &self,
        session: &Session,
        (after, before): (Seq, Option<Seq>),
        known: Seq,
    ) -> Result<Vec<Answer>, AnswerError> {
        let bounds = changes::Bounds::new(after, before, known);
        let values = bounds.values();
        let rows = session.client().query(&self.changes, &values);
        session.answered(rows).await
    }

    async fn find_values(
        &self,
        session: &Session,
        commits: &[Commit],
    ) -> Result<Vec<Answer>, Error> {
        let (kinds, keys): (Vec<_>, Vec<_>) = asked(commits)
            .map(|(kind, key)| (kind.as_str(), key))
            .unzip();
        match kinds.is_empty() {
            true => Ok(Vec::new()),
            false => session.client().query(&self.find, &[&kinds, &keys]).await,
        }
    }

    async fn find_logged(
        &self,
        session: &Session,
        commits: &[Commit],
        is_again: bool,
    ) -> Result<Vec<Answer>, Error> {
        let (log_ids, indexes) = named(commits);
        match is_again && !log_ids.is_empty() {
            false => Ok(Vec::new()),
            true => {
                let client = session.client();
                client.query(&self.find_logged, &[&log_ids, &indexes]).await
            }
        }
    }

    /// Makes the commits that have a place, tells those who listen, and commits. A commit is sent
    /// together with the writes: where one of them fails the server rolls back. Returns the newest of them.
    pub(super) async fn make(
        &self,
        session: &Session,
        before: Seq,
        commits: &[Commit],
        places: &Places,
    ) -> Result<Known, AnswerError> {
        let client = session.client();
        let newest = last(places).unwrap_or(before);
        let rows = Rows::of(commits, places);
        let entries = LogRows::of_entries(commits, places);
        let signatures = LogRows::of_signatures(commits, places);
        let logged = try_join(
            entries.insert(client, &self.log),
            signatures.insert(client, &self.sign),
        );
        // On the heap: it is large.
        let written = Box::pin(try_join5(
            rows.remove(client, &self.remove),
            rows.put(client, &self.put),
            rows.change(client, &self.change),
            logged,
            self.advance(client, before, newest),
        ));
        session.forget_warnings();
        let made = try_join(written, client.batch_execute("COMMIT"));
        let ((.., mark), ()) = session.answered(made).await?;
        session.unwarned()?;
        Ok(Known { seq: newest, mark })
    }

    /// Gives the sequence its new end, and now and then its new beginning; tells those who listen. Returns the
    /// mark of the new end.
    async fn advance(&self, client: &Client, before: Seq, newest: Seq) -> Result<String, Error> {
        let is_trimmed = before.0 / TRIM_EVERY != newest.0 / TRIM_EVERY;
        let kept = newest.0.saturating_sub(RETAINED_COMMITS);
        let kept = signed(if is_trimmed { kept } else { 0 });
        let trimmed = async {
            match is_trimmed {
                true => client.execute(&self.trim, &[&kept]).await,
                false => Ok(0),
            }
        };
        let notify = format!("NOTIFY {CHANNEL}");
        let notified = async {
            match self.notifies {
                true => client.batch_execute(&notify).await,
                false => Ok(()),
            }
        };
        let newest = signed(newest.0);
        let sequence: [&(dyn ToSql + Sync); 2] = [&newest, &kept];
        let moved = client.query_one(&self.sequence, &sequence);
        let (moved, ..) = try_join3(moved, trimmed, notified).await?;
        Ok(moved.get(0))
    }
}

/// Takes the row of a writer for ever. A transaction of it that is open holds the lock of the row: it was
/// made before, or never is. A second fence changes nothing.
pub(super) async fn fence_out(session: &Session, name: &str) -> Result<(), AnswerError> {
    let fence = "INSERT INTO countersign.writers AS w (name, instance, batch) VALUES ($1, $2, 0) \
                 ON CONFLICT (name) DO UPDATE SET instance = EXCLUDED.instance, batch = w.batch + $3 \
                 WHERE w.instance <> EXCLUDED.instance";
    let values: [&(dyn ToSql + Sync); 3] = [&name, &FENCED, &FENCE_STEP];
    session.forget_warnings();
    session
        .answered(session.client().execute(fence, &values))
        .await?;
    session.unwarned()
}

/// The row of a writer, as the database tells it.
fn writer_row(row: &Answer) -> Row {
    Row {
        run: row.get(0),
        batch: row.get(1),
        is_fenced: row.get::<_, &str>(2) == FENCED,
    }
}

async fn found(session: &Session, name: &str, sql: &str) -> Result<Option<Row>, AnswerError> {
    let names: [&(dyn ToSql + Sync); 1] = [&name];
    let row = session.answered(session.client().query_opt(sql, &names));
    Ok(row.await?.map(|it| writer_row(&it)))
}
