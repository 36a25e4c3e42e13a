//! What the writer is asked for, and who waits for it.

use countersign_model::Seq;
use tokio::sync::oneshot;

use crate::database::Places;
use crate::handing::Then;
use crate::{Commit, StoreError};

/// Bytes that a transaction writes at most, beyond its first job: others that share the database wait for its
/// end.
const BATCH_BYTES: usize = 8 << 20;

/// Something to write.
#[derive(Debug)]
pub(crate) enum Job {
    Commit {
        commit: Commit,
        then: Then,
        reply: oneshot::Sender<Result<Seq, StoreError>>,
    },
    /// Answered when everything that was queued before it is durable.
    Flush {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// Who waits for a commit.
pub(super) struct Caller {
    pub(super) then: Option<Then>,
    reply: oneshot::Sender<Result<Seq, StoreError>>,
}

/// The callers of a batch.
#[derive(Default)]
pub(super) struct Callers {
    pub(super) commits: Vec<Caller>,
    flushes: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

/// How many of the first jobs share a transaction: one at least.
pub(super) fn fitting(jobs: &[Job]) -> usize {
    let mut bytes = 0;
    let fits = |job: &&Job| {
        bytes += match job {
            Job::Commit { commit, .. } => commit.bytes(),
            Job::Flush { .. } => 0,
        };
        bytes <= BATCH_BYTES
    };
    jobs.iter().take_while(fits).count().max(1)
}

pub(super) fn parted(jobs: impl Iterator<Item = Job>) -> (Vec<Commit>, Callers) {
    let (mut commits, mut callers) = (Vec::new(), Callers::default());
    for job in jobs {
        match job {
            Job::Commit {
                commit,
                then,
                reply,
            } => {
                commits.push(commit);
                let then = Some(then);
                callers.commits.push(Caller { then, reply });
            }
            Job::Flush { reply } => callers.flushes.push(reply),
        }
    }
    (commits, callers)
}

impl Job {
    /// Says that it was not done.
    pub(crate) fn refuse(self, error: StoreError) {
        // A caller that went away no longer wants its answer.
        match self {
            Self::Commit { reply, .. } => drop(reply.send(Err(error))),
            Self::Flush { reply } => drop(reply.send(Err(error))),
        }
    }
}

impl Callers {
    pub(super) fn answer(self, places: &Places) {
        for (caller, place) in self.commits.into_iter().zip(places) {
            // A caller that went away no longer wants its answer.
            let _ = caller.reply.send(place.map_err(StoreError::from));
        }
        for reply in self.flushes {
            let _ = reply.send(Ok(()));
        }
    }

    pub(super) fn refuse(self, why: impl Fn() -> StoreError) {
        for caller in self.commits {
            let _ = caller.reply.send(Err(why()));
        }
        for reply in self.flushes {
            let _ = reply.send(Err(why()));
        }
    }
}

#[cfg(test)]
mod tests;
