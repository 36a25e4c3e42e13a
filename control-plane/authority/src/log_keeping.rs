//! Keeping the log: checkpoints while it grows, and no bodies for longer than they are wanted.

use std::sync::Arc;
use std::time::Duration;

use countersign_refusal::Unavailable;
use countersign_tlog::LogError;
use jiff::Timestamp;
use tracing::info;

use super::{Authority, AuthorityError};

/// How long the bodies of entries are kept, and how many of the newest at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Younger bodies are kept.
    pub age: Duration,
    /// This many of the newest are kept, however old.
    pub entries: u64,
}

impl Authority {
    /// Signs a checkpoint of everything that is durable, where there is more than at the last.
    ///
    /// # Errors
    /// The disk; the entries are durable all the same.
    pub async fn publish_log(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let log = Arc::clone(self.ledger.log().bytes());
        off_the_runtime(move || log.publish(now)).await
    }

    /// Removes the bodies that nobody wants any more. Tiles and checkpoints stay for ever.
    ///
    /// # Errors
    /// The disk.
    pub async fn prune_log(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let Some(below) = self.prunable(now)? else {
            return Ok(());
        };
        let log = Arc::clone(self.ledger.log().bytes());
        let retained = off_the_runtime(move || log.prune(below)).await?;
        info!(retained, "bodies of old log entries removed");
        Ok(())
    }

    /// Below which index bodies can go: whole bundles alone are removed.
    fn prunable(&self, now: Timestamp) -> Result<Option<u64>, AuthorityError> {
        let retention = self.settings.retention;
        let first = self.ledger.log().bytes().first_retained();
        let newest = self.ledger.log().size().saturating_sub(retention.entries);
        let Ok(border) = now.checked_sub(retention.age) else {
            return Ok(None);
        };
        let (mut low, mut high) = (first / BUNDLE, newest / BUNDLE);
        if low >= high || !self.is_older(first + BUNDLE - 1, border)? {
            return Ok(None);
        }
        // Entries are in order of time, but for what was made at the same moment.
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.is_older(middle * BUNDLE - 1, border)? {
                low = middle;
            } else {
                high = middle;
            }
        }
        let below = if self.is_older(high * BUNDLE - 1, border)? {
            high
        } else {
            low
        };
        Ok((below * BUNDLE > first).then_some(below * BUNDLE))
    }

    fn is_older(&self, index: u64, border: Timestamp) -> Result<bool, AuthorityError> {
        let made = self.ledger.log().made_at(index)?;
        Ok(made.is_none_or(|made| made < border))
    }
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, AuthorityError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(Unavailable::retry)?;
    Ok(done?)
}

/// Entries of a bundle: what is removed at a time.
const BUNDLE: u64 = 256;
