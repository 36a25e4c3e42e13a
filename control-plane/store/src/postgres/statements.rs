//! What the writer asks of PostgreSQL. What does not wait for an answer is sent together.

use countersign_model::Seq;
use futures_util::future::{try_join, try_join_all, try_join4, try_join5};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Statement};

use super::WriterName;
use super::session::{AnswerError, Session};
use crate::database::{Commit, Found, Places, asked, last};
use crate::{
    DatabaseError, Kind, RETAINED_COMMITS, StoreError, TRIM_EVERY, Write, signed, unsigned,
};

/// What is asked for again and again, in the order of the fields of [`Statements`].
const PREPARED: [&str; 8] = [
    "UPDATE countersign.writers SET batch = $2 + 1 \
     WHERE name = $1 AND batch = $2 AND run::text = $3",
    "SELECT newest FROM countersign.sequence FOR UPDATE",
    "SELECT kind, key, seq FROM countersign.entries WHERE (kind, key) IN \
     (SELECT * FROM unnest($1::text[], $2::text[]))",
    "INSERT INTO countersign.entries (kind, key, value, seq) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) \
     ON CONFLICT (kind, key) DO UPDATE SET value = EXCLUDED.value, seq = EXCLUDED.seq",
    "DELETE FROM countersign.entries WHERE (kind, key) IN \
     (SELECT * FROM unnest($1::text[], $2::text[]))",
    "INSERT INTO countersign.changes (seq, position, kind, key, value) SELECT * FROM \
     unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[])",
    "UPDATE countersign.sequence SET newest = $1",
    "DELETE FROM countersign.changes WHERE seq < $1",
];
/// The channel on which a commit is told of.
pub(super) const CHANNEL: &str = "countersign_commits";

/// Statements that the server has read once for a session.
#[derive(Debug)]
pub(super) struct Statements {
    fence: Statement,
    lock: Statement,
    find: Statement,
    put: Statement,
    remove: Statement,
    change: Statement,
    sequence: Statement,
    trim: Statement,
    /// Whether those who follow are told of a commit: not every database can.
    notifies: bool,
}

/// The row of a writer: which process took it, and the number of its newest batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) run: String,
    pub(super) batch: i64,
}

impl Row {
    fn of(row: &tokio_postgres::Row) -> Self {
        Self {
            run: row.get(0),
            batch: row.get(1),
        }
    }

    /// As the next batch of the same process leaves it.
    pub(super) fn next(&self) -> Self {
        Self {
            run: self.run.clone(),
            batch: self.batch + 1,
        }
    }
}

/// How a transaction begins.
pub(super) struct Begun {
    /// Whether the row of the writer is as this process left it.
    pub(super) is_ours: bool,
    pub(super) newest: Seq,
    pub(super) found: Found,
}

impl Statements {
    pub(super) async fn prepare(session: &Session) -> Result<Self, DatabaseError> {
        let client = session.client();
        let prepared = try_join_all(PREPARED.iter().map(|sql| client.prepare(sql)));
        let prepared = session.answered(prepared).await?;
        let prepared = <[Statement; PREPARED.len()]>::try_from(prepared);
        let [fence, lock, find, put, remove, change, sequence, trim] =
            prepared.expect("each is prepared or none");
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
            find,
            put,
            remove,
            change,
            sequence,
            trim,
            notifies,
        })
    }

    /// Sends no notices any more, as to a database that has none.
    #[cfg(test)]
    pub(super) fn silence(&mut self) {
        self.notifies = false;
    }

    /// The newest commit.
    pub(super) async fn newest(&self, session: &Session) -> Result<Seq, DatabaseError> {
        let asked = "SELECT newest FROM countersign.sequence";
        let row = session
            .answered(session.client().query_one(asked, &[]))
            .await?;
        Ok(Seq(unsigned(row.get(0))))
    }

    /// Takes the row of a writer for this process; `None` where another instance has the name.
    pub(super) async fn take(
        &self,
        session: &Session,
        writer: &WriterName,
    ) -> Result<Option<Row>, StoreError> {
        let taken = "INSERT INTO countersign.writers AS w (name, instance, batch) \
                     VALUES ($1, $2, 0) ON CONFLICT (name) DO UPDATE \
                     SET batch = w.batch + 1, run = gen_random_uuid() \
                     WHERE w.instance = EXCLUDED.instance RETURNING run::text, batch";
        let names: [&(dyn ToSql + Sync); 2] = [&writer.name, &writer.instance];
        let taken = session.answered(session.client().query_opt(taken, &names));
        let row = taken.await.map_err(DatabaseError::from)?;
        Ok(row.map(|row| Row::of(&row)))
    }

    /// The row of a writer.
    pub(super) async fn row_of(
        &self,
        session: &Session,
        name: &str,
    ) -> Result<Option<Row>, AnswerError> {
        let asked = "SELECT run::text, batch FROM countersign.writers WHERE name = $1";
        found(session, name, asked).await
    }

    /// The same, after every transaction that may still change it.
    pub(super) async fn locked_row_of(
        &self,
        session: &Session,
        name: &str,
    ) -> Result<Option<Row>, AnswerError> {
        let locked = "SELECT run::text, batch FROM countersign.writers WHERE name = $1 FOR UPDATE";
        found(session, name, locked).await
    }

    /// Begins a transaction: takes the row of the writer, then that of the sequence, always in this
    /// order, and reads what the preconditions ask for.
    pub(super) async fn begin(
        &self,
        session: &Session,
        name: &str,
        row: &Row,
        commits: &[Commit],
    ) -> Result<Begun, AnswerError> {
        let client = session.client();
        let (kinds, keys): (Vec<_>, Vec<_>) = asked(commits)
            .map(|(kind, key)| (kind.as_str(), key))
            .unzip();
        let fence: [&(dyn ToSql + Sync); 3] = [&name, &row.batch, &row.run];
        let names: [&(dyn ToSql + Sync); 2] = [&kinds, &keys];
        let find = async {
            match kinds.is_empty() {
                true => Ok(Vec::new()),
                false => client.query(&self.find, &names).await,
            }
        };
        let begun = try_join4(
            client.batch_execute("BEGIN"),
            client.execute(&self.fence, &fence),
            client.query_one(&self.lock, &[]),
            find,
        );
        let ((), fenced, newest, rows) = session.answered(begun).await?;
        let found = rows.iter().filter_map(|row| {
            let kind = Kind::parse(row.get(0)).ok()?;
            Some(((kind, row.get(1)), Seq(unsigned(row.get(2)))))
        });
        Ok(Begun {
            is_ours: fenced == 1,
            newest: Seq(unsigned(newest.get(0))),
            found: found.collect(),
        })
    }

    /// Makes the commits that have a place, tells those who listen, and commits. A commit is sent
    /// together with the writes: where one of them fails the server rolls back.
    pub(super) async fn make(
        &self,
        session: &Session,
        before: Seq,
        commits: &[Commit],
        places: &Places,
    ) -> Result<(), AnswerError> {
        let client = session.client();
        let newest = last(places).unwrap_or(before);
        let rows = Rows::of(commits, places);
        let notify = format!("NOTIFY {CHANNEL}");
        let notified = async {
            match self.notifies {
                true => client.batch_execute(&notify).await,
                false => Ok(()),
            }
        };
        let trimmed = async {
            match before.0 / TRIM_EVERY == newest.0 / TRIM_EVERY {
                true => Ok(0),
                false => {
                    let kept = signed(newest.0.saturating_sub(RETAINED_COMMITS));
                    client.execute(&self.trim, &[&kept]).await
                }
            }
        };
        let sequence = signed(newest.0);
        let sequence: [&(dyn ToSql + Sync); 1] = [&sequence];
        let written = try_join5(
            rows.remove(client, &self.remove),
            rows.put(client, &self.put),
            rows.change(client, &self.change),
            client.execute(&self.sequence, &sequence),
            try_join(trimmed, notified),
        );
        session.forget_warnings();
        let made = try_join(written, client.batch_execute("COMMIT"));
        session.answered(made).await?;
        session.unwarned()
    }
}

async fn found(session: &Session, name: &str, sql: &str) -> Result<Option<Row>, AnswerError> {
    let names: [&(dyn ToSql + Sync); 1] = [&name];
    let row = session.answered(session.client().query_opt(sql, &names));
    Ok(row.await?.map(|row| Row::of(&row)))
}

/// The writes of a batch, in columns.
#[derive(Default)]
struct Rows<'a> {
    seqs: Vec<i64>,
    positions: Vec<i32>,
    kinds: Vec<&'static str>,
    keys: Vec<&'a str>,
    values: Vec<Option<&'a str>>,
}

impl<'a> Rows<'a> {
    fn of(commits: &'a [Commit], places: &Places) -> Self {
        let mut rows = Self::default();
        for (commit, place) in commits.iter().zip(places) {
            let Some(seq) = place else { continue };
            for (position, write) in commit.writes.iter().enumerate() {
                rows.add(*seq, position, write);
            }
        }
        rows
    }

    fn add(&mut self, seq: Seq, position: usize, write: &'a Write) {
        self.seqs.push(signed(seq.0));
        self.positions
            .push(i32::try_from(position).unwrap_or(i32::MAX));
        self.kinds.push(write.kind.as_str());
        self.keys.push(&write.key);
        self.values.push(write.value.as_deref());
    }

    /// The last write of every name: one statement changes a row once.
    fn last_of_each(&self) -> impl Iterator<Item = usize> {
        let last: std::collections::HashMap<_, _> = (0..self.keys.len())
            .map(|row| ((self.kinds[row], self.keys[row]), row))
            .collect();
        let mut last: Vec<_> = last.into_values().collect();
        last.sort_unstable();
        last.into_iter()
    }

    async fn remove(&self, client: &tokio_postgres::Client, by: &Statement) -> Result<u64, Error> {
        let gone = self
            .last_of_each()
            .filter(|row| self.values[*row].is_none());
        let (kinds, keys): (Vec<_>, Vec<_>) =
            gone.map(|row| (self.kinds[row], self.keys[row])).unzip();
        if kinds.is_empty() {
            return Ok(0);
        }
        client.execute(by, &[&kinds, &keys]).await
    }

    async fn put(&self, client: &tokio_postgres::Client, by: &Statement) -> Result<u64, Error> {
        let mut put = Self::default();
        for row in self.last_of_each() {
            let Some(value) = self.values[row] else {
                continue;
            };
            put.kinds.push(self.kinds[row]);
            put.keys.push(self.keys[row]);
            put.values.push(Some(value));
            put.seqs.push(self.seqs[row]);
        }
        if put.kinds.is_empty() {
            return Ok(0);
        }
        client
            .execute(by, &[&put.kinds, &put.keys, &put.values, &put.seqs])
            .await
    }

    async fn change(&self, client: &tokio_postgres::Client, by: &Statement) -> Result<u64, Error> {
        let columns: [&(dyn ToSql + Sync); 5] = [
            &self.seqs,
            &self.positions,
            &self.kinds,
            &self.keys,
            &self.values,
        ];
        client.execute(by, &columns).await
    }
}
