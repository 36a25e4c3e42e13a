//! A batch that was not written: whether it is made again at once, and what may have become of it, by the
//! code that the server gave.

use super::session::AnswerError;
use crate::DatabaseError;
use crate::database::{Failed, Fate, Places};
use crate::fencing::Lost;

/// Codes of SQL: the transaction failed because of another one, or because of an entry of a log that is there
/// already, which the next try finds.
const AGAIN: [&str; 4] = ["40001", "40P01", "23505", FAILED_BEFORE];
/// Classes of codes with which a server says at COMMIT that it did not commit: a rollback, a
/// constraint, no room.
const NOT_COMMITTED: [&str; 3] = ["40", "23", "53"];
/// A statement before this one failed in the same transaction: its error may come second.
const FAILED_BEFORE: &str = "25P02";
/// Of the first class: the server does not know.
const UNKNOWN: &str = "40003";

/// A batch that was not made, or not as far as is known.
pub(super) enum NotWritten {
    /// There is no session.
    Away(DatabaseError),
    /// Before the commit was sent.
    Begin(AnswerError),
    /// After it was sent.
    Commit(AnswerError, Places),
    /// The row of this writer is not as it left it.
    Lost(Lost),
}

impl NotWritten {
    /// Whether another transaction was in the way, so that this one may be made again at once.
    pub(super) fn is_retried(&self) -> bool {
        match self {
            Self::Begin(error) | Self::Commit(error, _) => {
                error.code().is_some_and(|code| AGAIN.contains(&code))
            }
            Self::Away(_) | Self::Lost(_) => false,
        }
    }

    pub(super) fn into_failed(self) -> Failed {
        match self {
            Self::Away(error) => Failed {
                error,
                fate: Fate::Refused,
            },
            Self::Begin(error) => Failed {
                error: error.into(),
                fate: Fate::Refused,
            },
            Self::Commit(error, places) => Failed {
                fate: match is_refusal(error.code()) {
                    true => Fate::Refused,
                    false => Fate::Open(places),
                },
                error: error.into(),
            },
            Self::Lost(Lost::Taken(error)) => Failed {
                error,
                fate: Fate::Unknown,
            },
            Self::Lost(Lost::Older(error)) => Failed {
                error,
                fate: Fate::Older,
            },
        }
    }
}

/// Whether the server says that it did not commit. A server that is shut down may have committed
/// before it said so.
fn is_refusal(code: Option<&str>) -> bool {
    let Some(code) = code else { return false };
    let is_no_commit =
        code == FAILED_BEFORE || NOT_COMMITTED.iter().any(|class| code.starts_with(class));
    code != UNKNOWN && is_no_commit
}
