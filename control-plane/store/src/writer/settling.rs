//! A batch whose commit failed in a way that may have left it on the disk.
//!
//! In WAL mode a commit writes its frames, syncs them, then puts them into the index of the log,
//! which is shared memory in a file of its own. Where that file cannot grow, on a full disk, the
//! commit fails though its frames are on the disk: nobody sees them, and a recovery would bring them
//! back. So the next commit that succeeds decides: it is durable with everything before it, and what
//! it does not see it has overwritten. Until then callers of the batch wait, and others are refused.

use std::time::Duration;

use countersign_model::Seq;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Fate, Job, Writer};
use crate::statements::commit;
use crate::{Kind, StoreError, TRIAL, Write, signed, unsigned};

/// How long the callers of an undecided batch wait before the writer stops for good.
pub(super) const SETTLE_WITHIN: Duration = Duration::from_secs(3_600);
/// How long after a try that failed the next one is made.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);

impl Writer {
    /// Whether the commits after the newest, up to this one, are on the disk; `None` where that
    /// cannot be decided.
    pub(super) async fn settle(
        &mut self,
        batch: Seq,
        queue: &mut mpsc::Receiver<Job>,
    ) -> Option<bool> {
        let begun = Instant::now();
        loop {
            match self.look(batch).await {
                Ok((is_kept, newest)) => {
                    self.newest = newest;
                    return Some(is_kept);
                }
                Err(error) if Fate::of(&error, true) == Fate::Unknown => return None,
                Err(error) => tracing::debug!(%error, "a commit is still undecided"),
            }
            self.close().await;
            if begun.elapsed() >= self.settle_within || !refuse_meanwhile(queue).await {
                return None;
            }
        }
    }

    /// Looks for the batch and makes a commit after it, with a place that the batch does not have.
    async fn look(&mut self, batch: Seq) -> Result<(bool, Seq), sqlx::Error> {
        let before = self.newest;
        let mut transaction = self
            .connected()
            .await?
            .begin_with("BEGIN IMMEDIATE")
            .await?;
        let (found, newest) = find(before, batch, &mut transaction).await?;
        let next = Seq(newest.max(batch).0 + 1);
        let trial = [Write::put(Kind::Meta, TRIAL, &true)];
        commit(next, &trial, &[], &mut transaction).await?;
        transaction.commit().await?;
        Ok((found, next))
    }
}

/// Whether a commit after `before`, up to `last`, is there, and which is the newest of all.
async fn find(
    before: Seq,
    last: Seq,
    connection: &mut SqliteConnection,
) -> Result<(bool, Seq), sqlx::Error> {
    let (found, newest): (bool, i64) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM changes WHERE seq > ? AND seq <= ?), \
         (SELECT COALESCE(MAX(seq), 0) FROM changes)",
    )
    .bind(signed(before.0))
    .bind(signed(last.0))
    .fetch_one(connection)
    .await?;
    Ok((found, Seq(unsigned(newest))))
}

/// Waits for the next try, and refuses what comes before it; `false` where nobody is left to write.
async fn refuse_meanwhile(queue: &mut mpsc::Receiver<Job>) -> bool {
    let next = tokio::time::sleep(SETTLE_AGAIN);
    tokio::pin!(next);
    loop {
        tokio::select! {
            () = &mut next => return true,
            job = queue.recv() => {
                let Some(job) = job else { return false };
                let refused = StoreError::Batch("a commit before this one is undecided".to_owned());
                // A caller that went away no longer wants its answer.
                let _ = job.into_reply().send(Err(refused));
            }
        }
    }
}

#[cfg(test)]
mod tests;
