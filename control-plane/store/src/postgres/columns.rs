//! What a batch writes, in columns: one statement takes all rows of a table.

use std::collections::HashMap;

use countersign_model::Seq;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use crate::database::Places;
use crate::{Commit, LogEntry, Write, signed, unsigned};

/// The writes of a batch, in columns.
#[derive(Default)]
pub(super) struct Rows<'a> {
    seqs: Vec<i64>,
    positions: Vec<i32>,
    kinds: Vec<&'static str>,
    keys: Vec<&'a str>,
    values: Vec<Option<&'a str>>,
}

impl<'a> Rows<'a> {
    pub(super) fn of(commits: &'a [Commit], places: &Places) -> Self {
        let mut rows = Self::default();
        for (commit, place) in commits.iter().zip(places) {
            let Ok(seq) = place else { continue };
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
        let last: HashMap<_, _> = (0..self.keys.len())
            .map(|row| ((self.kinds[row], self.keys[row]), row))
            .collect();
        let mut last: Vec<_> = last.into_values().collect();
        last.sort_unstable();
        last.into_iter()
    }

    pub(super) async fn remove(&self, client: &Client, by: &Statement) -> Result<u64, Error> {
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

    pub(super) async fn put(&self, client: &Client, by: &Statement) -> Result<u64, Error> {
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

    pub(super) async fn change(&self, client: &Client, by: &Statement) -> Result<u64, Error> {
        if self.kinds.is_empty() {
            return Ok(0);
        }
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

/// The entries of logs that a batch makes, or the signatures, in columns.
#[derive(Default)]
pub(super) struct LogRows<'a> {
    log_ids: Vec<i64>,
    indexes: Vec<i64>,
    seqs: Vec<i64>,
    bytes: Vec<&'a [u8]>,
}

impl<'a> LogRows<'a> {
    pub(super) fn of_entries(commits: &'a [Commit], places: &Places) -> Self {
        let mut rows = Self::default();
        for (commit, place) in commits.iter().zip(places) {
            let Ok(seq) = place else { continue };
            for entry in &commit.entries {
                rows.add(*seq, entry.name(), &entry.bytes);
            }
        }
        rows
    }

    pub(super) fn of_signatures(commits: &'a [Commit], places: &Places) -> Self {
        let mut rows = Self::default();
        for (commit, place) in commits.iter().zip(places) {
            let Ok(seq) = place else { continue };
            for signature in &commit.signatures {
                rows.add(*seq, signature.name(), &signature.bytes);
            }
        }
        rows
    }

    fn add(&mut self, seq: Seq, (log_id, index): (u32, u64), bytes: &'a [u8]) {
        self.log_ids.push(i64::from(log_id));
        self.indexes.push(signed(index));
        self.seqs.push(signed(seq.0));
        self.bytes.push(bytes);
    }

    pub(super) async fn insert(&self, client: &Client, by: &Statement) -> Result<u64, Error> {
        if self.bytes.is_empty() {
            return Ok(0);
        }
        let columns: [&(dyn ToSql + Sync); 4] =
            [&self.log_ids, &self.indexes, &self.seqs, &self.bytes];
        client.execute(by, &columns).await
    }
}

/// Logs and indexes of the entries of a batch.
pub(super) fn named(commits: &[Commit]) -> (Vec<i64>, Vec<i64>) {
    let entries = commits.iter().flat_map(|commit| &commit.entries);
    let names = entries.map(LogEntry::name);
    names
        .map(|(log_id, index)| (i64::from(log_id), signed(index)))
        .unzip()
}

/// Which log a row names.
pub(super) fn log_id(value: i64) -> u32 {
    u32::try_from(unsigned(value)).unwrap_or(u32::MAX)
}
