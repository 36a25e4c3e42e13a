//! A commit: what it asks for, and what it did.

use countersign_model::Seq;

use crate::{LogEntry, LogSignature, Precondition, StoreError, Write};

/// What is made durable at once, if every precondition holds.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Values that are written or removed.
    pub writes: Vec<Write>,
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// Entries of issuance logs, none of which is there yet.
    pub entries: Vec<LogEntry>,
    /// Signatures for entries; of each entry the first is kept.
    pub signatures: Vec<LogSignature>,
}

impl Commit {
    /// Whether it needs a database that keeps logs.
    pub(crate) fn is_logged(&self) -> bool {
        !self.entries.is_empty() || !self.signatures.is_empty()
    }

    /// The bytes that it writes.
    pub(crate) fn bytes(&self) -> usize {
        size(&self.writes, &self.entries, &self.signatures).1
    }
}

/// How many things are made, and their bytes.
fn size(writes: &[Write], entries: &[LogEntry], signatures: &[LogSignature]) -> (usize, usize) {
    let values = writes.iter().map(|it| {
        let value = it.value.as_deref().unwrap_or_default();
        it.key.len() + value.len()
    });
    let of_entries = entries.iter().map(|it| it.bytes.len());
    let of_signatures = signatures.iter().map(|it| it.bytes.len());
    let rows = writes.len() + entries.len() + signatures.len();
    (rows, values.chain(of_entries).chain(of_signatures).sum())
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the order.
    pub seq: Seq,
    /// Values that it wrote or removed, in its order.
    pub writes: Vec<Write>,
    /// Entries of issuance logs that it made, in the order of log and index.
    pub entries: Vec<LogEntry>,
    /// Signatures that it made and that were the first of their entry, in the same order.
    pub signatures: Vec<LogSignature>,
}

/// One of the things that a commit did, as a row of a database tells it.
#[derive(Debug)]
pub(crate) enum Part {
    Write(Write),
    Entry(LogEntry),
    Signature(LogSignature),
}

impl Committed {
    /// The commits that rows tell of, which are in the order of commits.
    pub(crate) fn gathered(
        parts: impl Iterator<Item = Result<(Seq, Part), StoreError>>,
    ) -> Result<Vec<Self>, StoreError> {
        let mut commits: Vec<Self> = Vec::new();
        for part in parts {
            let (seq, part) = part?;
            match commits.last_mut() {
                Some(commit) if commit.seq == seq => commit.add(part),
                _ => {
                    let mut commit = Self {
                        seq,
                        ..Self::default()
                    };
                    commit.add(part);
                    commits.push(commit);
                }
            }
        }
        Ok(commits)
    }

    /// How many things it did, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        size(&self.writes, &self.entries, &self.signatures)
    }

    fn add(&mut self, part: Part) {
        match part {
            Part::Write(write) => self.writes.push(write),
            Part::Entry(entry) => self.entries.push(entry),
            Part::Signature(signature) => self.signatures.push(signature),
        }
    }
}
