//! Writing the inventory down now and then, so that a start reads the newest part of the logs alone.

use std::path::PathBuf;

use countersign_inventory::{Coverage, Inventory, OtherLogs, TakenEntry};
use countersign_model::Seq;
use countersign_refusal::Unavailable;
use countersign_serve::{bounded_file, durable_file};
use jiff::Timestamp;
use tracing::{info, warn};

use super::{Authority, AuthorityError};

/// The file, within the data directory.
const FILE: &str = "inventory";
/// Its largest length, in bytes: beyond what the certificates of a trust domain take.
const MAX_INVENTORY_BYTES: u64 = 4 * 1024 * 1024 * 1024;

impl Authority {
    /// Writes the inventory down. What was durable at the last call has been signed and listed
    /// since, so the file speaks for the log up to there; at the end everything has.
    ///
    /// # Errors
    /// The disk; nothing but the time of the next start depends on it.
    pub async fn save_inventory(&self, now: Timestamp, is_end: bool) -> Result<(), AuthorityError> {
        let Some(coverage) = self.coverage(now, is_end).await else {
            return Ok(());
        };
        let this = self.this.upgrade().expect("we are called through it");
        let write = move || {
            let bytes = this.ledger.with_inventory(|it| it.to_snapshot(&coverage));
            durable_file::write(&this.inventory_file(), &bytes)
        };
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.map_err(Unavailable::retry)?;
        Ok(written.map_err(Unavailable::retry)?)
    }

    /// How far the inventory speaks for the log; `None` while an entry waits to be voided, which
    /// must be read again at a start.
    async fn coverage(&self, now: Timestamp, is_end: bool) -> Option<Coverage> {
        // No change is logged and not yet committed meanwhile.
        let _one_at_a_time = self.turn().await.ok()?;
        let undestroyed = self.hierarchy.first_undestroyed();
        let [present, before] = self.ledger.settle_now();
        let state = self.state.read();
        // A certificate that is being signed is in a log and not in the inventory.
        let is_quiet = is_end && !state.keys.is_issuing() && state.unsigned.is_empty();
        let (settled, newest) = if is_quiet { present } else { before };
        let mut oldest = state.keys.oldest_live(now);
        // One whose signature has not come is listed by a start that reads its entry again.
        for (log_id, index) in state.unsigned.oldest(now) {
            let lowest = oldest.entry(log_id).or_insert(index);
            *lowest = index.min(*lowest);
        }
        // What is of no log of another is our own, or of the log that ours goes on from.
        let own = self.ledger.log().id();
        let is_own = |id: &u32| *id == own || state.replicas.of_log(*id).is_none();
        let live = oldest.iter().filter(|(id, _)| is_own(id));
        let oldest_live = live.map(|(_, index)| *index).min().unwrap_or(settled);
        let oldest_live = undestroyed.map_or(oldest_live, |it| it.min(oldest_live));
        oldest.remove(&own);
        let coverage = Coverage {
            log_id: own,
            settled,
            oldest_live,
            voids: state.keys.voids_below(settled.min(oldest_live)),
            accounted: self.ledger.accounted(),
            others: OtherLogs {
                newest,
                oldest_live: oldest,
            },
        };
        drop(state);
        (!self.ledger.is_void_pending() && !self.store.is_stopped()).then_some(coverage)
    }

    /// Takes the inventory that was written down, and says from which entry of the log on it must
    /// be completed, and from which on there are valid certificates. What it tells of other logs must be what the
    /// database has: that may have been put back since, and have grown beyond it.
    pub(super) async fn load_inventory(&self, until: Seq) -> Result<Coverage, AuthorityError> {
        let from_scratch = Coverage {
            log_id: self.ledger.log().id(),
            settled: 0,
            oldest_live: 0,
            accounted: 0,
            voids: Vec::new(),
            others: OtherLogs::default(),
        };
        let read = bounded_file::read_own(&self.inventory_file(), MAX_INVENTORY_BYTES);
        let bytes = match read {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(from_scratch),
            Err(error) => {
                warn!(%error, "the inventory does not read: it is read from the log again");
                return Ok(from_scratch);
            }
        };
        let read = Inventory::from_snapshot(&bytes);
        let Some((inventory, coverage)) = read.filter(|(_, coverage)| self.is_ours(coverage))
        else {
            warn!("the inventory is not of this log: it is read from the log again");
            return Ok(from_scratch);
        };
        if let Some(newest) = coverage.others.newest {
            if !self.has_entry(&newest, until).await? {
                warn!("the inventory is of another database: it is read from the logs again");
                return Ok(from_scratch);
            }
            self.ledger.took(newest);
        }
        self.ledger.take_inventory(inventory);
        info!(settled = coverage.settled, "inventory found");
        Ok(coverage)
    }

    /// Whether the database has this very entry, made by this very commit.
    async fn has_entry(&self, taken: &TakenEntry, until: Seq) -> Result<bool, AuthorityError> {
        let (log_id, index) = (taken.entry.log_id(), taken.entry.index());
        let found = self.store.log_entry(log_id, index).await?;
        Ok(found.is_some_and(|(seq, entry, _)| {
            seq <= until && TakenEntry::new(seq, taken.entry, &entry.bytes) == *taken
        }))
    }

    fn is_ours(&self, coverage: &Coverage) -> bool {
        coverage.log_id == self.ledger.log().id() && coverage.settled <= self.ledger.log().size()
    }

    fn inventory_file(&self) -> PathBuf {
        self.settings.data_dir.join(FILE)
    }
}
