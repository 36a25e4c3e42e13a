//! A whole state written at once, and one that is left behind.

use countersign_model::Seq;
use tokio_postgres::types::ToSql;

use super::Address;
use super::schema;
use super::session::{AnswerError, Session};
use crate::{COPIED, DatabaseError, Entry, Kind, MOVED, Snapshot, StoreError, signed, unsigned};

/// Entries that one statement puts.
const CHUNK: usize = 1_000;

/// Writes a state into an empty database; `false` where there is one.
pub(crate) async fn write_copy(address: &Address, source: &Snapshot) -> Result<bool, StoreError> {
    let session = Session::open(address).await?;
    schema::migrate(&session).await?;
    let written = in_transaction(&session, async {
        if lock(&session).await? != Seq(0) {
            return Ok(false);
        }
        for entries in source.entries.chunks(CHUNK) {
            put(&session, entries).await?;
        }
        mark(&session, source.seq, COPIED, None).await?;
        let level = "UPDATE countersign.schema SET oldest = $1";
        session
            .answered(session.client().execute(level, &[&source.level.0]))
            .await?;
        let beginning = "UPDATE countersign.sequence SET oldest = newest";
        session
            .answered(session.client().execute(beginning, &[]))
            .await?;
        Ok(true)
    });
    Ok(written.await.map_err(DatabaseError::from)?)
}

/// Says that the state was moved, as the commit after the one that was copied.
pub(crate) async fn mark_moved(
    address: &Address,
    source: &Snapshot,
    to: &str,
) -> Result<(), StoreError> {
    let session = Session::open(address).await?;
    let value = serde_json::to_string(to).expect("a text is plain JSON");
    let marked = in_transaction(&session, async {
        if lock(&session).await? != source.seq {
            return Ok(false);
        }
        let seq = Seq(source.seq.0 + 1);
        let moved = Entry {
            kind: Kind::Meta,
            key: MOVED.to_owned(),
            seq,
            value: value.clone(),
        };
        put(&session, &[moved]).await?;
        mark(&session, seq, MOVED, Some(&value)).await?;
        // Whoever still writes is fenced out by it.
        let fence = "UPDATE countersign.writers SET (run, speaks_run) = \
                     (SELECT moved, moved FROM gen_random_uuid() AS moved)";
        session
            .answered(session.client().execute(fence, &[]))
            .await?;
        Ok(true)
    });
    match marked.await.map_err(DatabaseError::from)? {
        true => Ok(()),
        false => Err(StoreError::Conflict),
    }
}

/// Commits what is done where it says so.
async fn in_transaction(
    session: &Session,
    done: impl Future<Output = Result<bool, AnswerError>>,
) -> Result<bool, AnswerError> {
    session
        .answered(session.client().batch_execute("BEGIN"))
        .await?;
    let is_done = done.await?;
    let end = if is_done { "COMMIT" } else { "ROLLBACK" };
    session
        .answered(session.client().batch_execute(end))
        .await?;
    Ok(is_done)
}

/// The newest commit, until the transaction ends.
async fn lock(session: &Session) -> Result<Seq, AnswerError> {
    let locked = "SELECT newest FROM countersign.sequence FOR UPDATE";
    let row = session
        .answered(session.client().query_one(locked, &[]))
        .await?;
    Ok(Seq(unsigned(row.get(0))))
}

async fn put(session: &Session, entries: &[Entry]) -> Result<(), AnswerError> {
    let kinds: Vec<_> = entries.iter().map(|it| it.kind.as_str()).collect();
    let keys: Vec<_> = entries.iter().map(|it| it.key.as_str()).collect();
    let values: Vec<_> = entries.iter().map(|it| it.value.as_str()).collect();
    let seqs: Vec<_> = entries.iter().map(|it| signed(it.seq.0)).collect();
    let columns: [&(dyn ToSql + Sync); 4] = [&kinds, &keys, &values, &seqs];
    let put = "INSERT INTO countersign.entries (kind, key, value, seq) \
               SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])";
    session
        .answered(session.client().execute(put, &columns))
        .await?;
    Ok(())
}

/// Makes a commit the newest, with one change.
async fn mark(
    session: &Session,
    seq: Seq,
    key: &str,
    value: Option<&str>,
) -> Result<(), AnswerError> {
    let (client, newest, kind) = (session.client(), signed(seq.0), Kind::Meta.as_str());
    let columns: [&(dyn ToSql + Sync); 4] = [&newest, &kind, &key, &value];
    let change = "INSERT INTO countersign.changes (seq, position, kind, key, value) \
                  VALUES ($1, 0, $2, $3, $4)";
    session.answered(client.execute(change, &columns)).await?;
    let sequence = "UPDATE countersign.sequence SET newest = $1";
    session
        .answered(client.execute(sequence, &[&newest]))
        .await?;
    Ok(())
}
