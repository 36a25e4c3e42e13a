//! Fences a writer out, which may be in the middle of a commit.

use super::session::{AnswerError, Session};
use super::statements;

/// A lock was not had in time.
const LOCKED: &str = "55P03";
/// A fence waits for the lock so often, each time as long as the session lets it: longer than the server
/// lets a transaction of one that stands still hold it.
const FENCE_TRIES: usize = 4;

/// Sees to it that a writer makes no commit any more. It may be in the middle of one, and hold the lock for as
/// long as the server waits for it.
pub(super) async fn fence_out(session: &Session, name: &str) -> Result<(), AnswerError> {
    for _ in 1..FENCE_TRIES {
        match statements::fence_out(session, name).await {
            Err(error) if error.code() == Some(LOCKED) => {}
            fenced => return fenced,
        }
    }
    statements::fence_out(session, name).await
}
