//! A batch that failed in a way that may have left it in the database.
//!
//! The database is asked until it knows. Until then callers of the batch wait, and others are
//! refused.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Job;
use crate::StoreError;
use crate::database::{Database, Fate, Places, Unsettled};

/// How long the callers of an undecided batch wait before the writer stops for good.
pub(super) const SETTLE_WITHIN: Duration = Duration::from_secs(3_600);
/// How long after a try that failed the next one is made.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);
/// What is told of jobs that come meanwhile.
const UNDECIDED: &str = "a commit before this one is undecided";

/// Whether a batch is kept; why not where that cannot be decided.
pub(super) async fn settle(
    database: &mut impl Database,
    places: &Places,
    within: Duration,
    queue: &mut mpsc::Receiver<Job>,
) -> Result<bool, Fate> {
    let begun = Instant::now();
    loop {
        match database.settle(places).await {
            Ok(is_kept) => return Ok(is_kept),
            Err(Unsettled::Ever(error)) => {
                tracing::debug!(%error, "a commit cannot be decided");
                return Err(Fate::Unknown);
            }
            Err(Unsettled::Older(error)) => {
                tracing::debug!(%error, "a commit is lost with those before it");
                return Err(Fate::Older);
            }
            Err(Unsettled::Yet(error)) => tracing::debug!(%error, "a commit is still undecided"),
        }
        if begun.elapsed() >= within || !refuse_meanwhile(queue, UNDECIDED).await {
            return Err(Fate::Unknown);
        }
    }
}

/// Waits for the next try, and refuses what comes before it; `false` where nobody is left to write.
pub(super) async fn refuse_meanwhile(queue: &mut mpsc::Receiver<Job>, reason: &str) -> bool {
    let next = tokio::time::sleep(SETTLE_AGAIN);
    tokio::pin!(next);
    loop {
        tokio::select! {
            () = &mut next => return true,
            job = queue.recv() => {
                let Some(job) = job else { return false };
                job.refuse(StoreError::Batch(reason.to_owned()));
            }
        }
    }
}
