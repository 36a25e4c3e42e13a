//! Whether a writer may still write: what its row in the database says, against the row as it left it.
//!
//! The row holds which process took the name, and the number of its newest batch. A batch is made only on top
//! of the one that this process made before. So a second process with the same name, a fence, and a database
//! that was put back from a copy are found; and whether a batch was made whose answer was lost. Who wrote nothing
//! since the copy is found by the newest commit that it knows: it is there, and it is the same one. Another
//! control plane may have written beyond that place since.

use countersign_model::Seq;

use crate::DatabaseError;
use crate::database::{Unread, Unsettled};

/// How far a fence moves the number of the newest batch: beyond the next one, so that whether that one was
/// made before the fence can be told.
pub(crate) const FENCE_STEP: i64 = 2;

/// The row of a writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The process that took it.
    pub(crate) run: String,
    /// Its newest batch.
    pub(crate) batch: i64,
    /// Whether nobody writes under this name any more.
    pub(crate) is_fenced: bool,
}

impl Row {
    /// As a fence leaves it.
    pub(crate) fn fenced(&self) -> Self {
        Self {
            batch: self.batch + FENCE_STEP,
            is_fenced: true,
            ..self.clone()
        }
    }

    /// As the next batch of the same process leaves it.
    pub(crate) fn next(&self) -> Self {
        Self {
            batch: self.batch + 1,
            ..self.clone()
        }
    }
}

/// A commit that is known to be in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) seq: Seq,
    /// What tells it from another one in its place.
    pub(crate) mark: String,
}

/// What a database says of a commit that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) newest: Seq,
    /// The oldest commit of which it keeps anything.
    pub(crate) oldest: Seq,
    /// The mark at that place.
    pub(crate) mark: Option<String>,
}

/// Why a writer writes no more: its row is not as it left it.
pub(crate) enum Lost {
    /// Somebody else took it.
    Taken(DatabaseError),
    /// It is as it was before.
    Older(DatabaseError),
}

/// Why it does not, by the row that is there.
pub(crate) fn lost(name: &str, own: &Row, row: Option<&Row>) -> Lost {
    match row {
        Some(row) if row.is_fenced && row.batch >= own.batch => {
            Lost::Taken(DatabaseError::new(format!(
                "{name} was fenced out: another control plane seals its issuance log, or did, and nothing of \
                 this one is taken any more; stop it, and let it join with another replica.name and an \
                 empty data_dir"
            )))
        }
        Some(row) if row.run != own.run && row.batch >= own.batch => {
            Lost::Taken(DatabaseError::new(format!(
                "another control plane writes under the name {name}, or the state was moved: stop one \
                 of the two"
            )))
        }
        _ => Lost::Older(older()),
    }
}

/// Whether the database has every commit that is known, where the row of the writer is as it left it: it may
/// have written nothing since a copy that was put back, and have taken what others wrote.
///
/// Of a commit that is not kept any more nothing can be told: whoever is so far behind reads everything anew.
pub(crate) fn has(known: &Known, present: &Present) -> Result<(), Lost> {
    let is_same = match &present.mark {
        Some(mark) => *mark == known.mark,
        None => known.seq < present.oldest,
    };
    match is_same && known.seq <= present.newest {
        true => Ok(()),
        false => Err(Lost::Older(older())),
    }
}

impl Known {
    /// What is known after a read that says what is at this commit, and which is the newest. Who reads may be told of
    /// less than is known, by a server that is behind: that decides nothing.
    pub(crate) fn followed_by(self, present: &Present, newest: Self) -> Result<Self, Unread> {
        if present.newest < self.seq {
            return Ok(self);
        }
        match has(&self, present) {
            Ok(()) => Ok(newest),
            Err(Lost::Older(error) | Lost::Taken(error)) => Err(Unread::Older(error)),
        }
    }
}

fn older() -> DatabaseError {
    DatabaseError::new(
        "the database does not hold what was committed to it: it was put back from an older copy, \
         or a standby took over that had not everything; see \"The database is away\" in \
         docs/operations.md",
    )
}

/// Whether the batch after `own` was made, whose answer was lost.
pub(crate) fn was_made(name: &str, own: &Row, row: Option<&Row>) -> Result<bool, Unsettled> {
    match row {
        // A fence that came meanwhile waited for the end of the batch.
        Some(row) if *row == *own || *row == own.fenced() => Ok(false),
        Some(row) if *row == own.next() || *row == own.next().fenced() => Ok(true),
        row => Err(match lost(name, own, row) {
            Lost::Taken(error) => Unsettled::Ever(error),
            Lost::Older(error) => Unsettled::Older(error),
        }),
    }
}
