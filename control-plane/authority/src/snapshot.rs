//! Writing the inventory down now and then, so that a start reads the log's newest part alone.

use std::fs;
use std::path::PathBuf;

use countersign_inventory::{Coverage, Inventory};
use countersign_refusal::Unavailable;
use countersign_serve::durable_file;
use jiff::Timestamp;
use tracing::{info, warn};

use super::{Authority, AuthorityError};

/// The file, within the data directory.
const FILE: &str = "inventory";

impl Authority {
    /// Writes the inventory down. What was durable at the last call has been signed and listed
    /// since, so the file speaks for the log up to there; at the end everything has.
    ///
    /// # Errors
    /// The disk; nothing but the time of the next start depends on it.
    pub async fn save_inventory(&self, now: Timestamp, is_end: bool) -> Result<(), AuthorityError> {
        // Of several logs a start reads all: the file tells of one.
        if self.store.keeps_log() {
            return Ok(());
        }
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
        let (size, before) = self.ledger.settle_now();
        // A certificate that is being signed is in the log and not in the inventory.
        let is_quiet = is_end && !self.state.read().keys.is_issuing();
        let settled = if is_quiet { size } else { before };
        let oldest_live = self
            .state
            .read()
            .keys
            .oldest_live(now, |_| true)
            .unwrap_or(settled);
        let undestroyed = self.hierarchy.first_undestroyed().unwrap_or(oldest_live);
        let oldest_live = oldest_live.min(undestroyed);
        let coverage = Coverage {
            log_id: self.ledger.log().id(),
            settled,
            oldest_live,
            voids: self
                .state
                .read()
                .keys
                .voids_below(settled.min(oldest_live), |_| true),
            accounted: self.ledger.accounted(),
        };
        (!self.ledger.is_void_pending() && !self.store.is_stopped()).then_some(coverage)
    }

    /// Takes the inventory that was written down, and says from which entry of the log on it must
    /// be completed, and from which on there are valid certificates.
    pub(super) fn load_inventory(&self) -> Coverage {
        let from_scratch = Coverage {
            log_id: self.ledger.log().id(),
            settled: 0,
            oldest_live: 0,
            accounted: 0,
            voids: Vec::new(),
        };
        if self.store.keeps_log() {
            return from_scratch;
        }
        let Ok(bytes) = fs::read(self.inventory_file()) else {
            return from_scratch;
        };
        let read = Inventory::from_snapshot(&bytes);
        match read.filter(|(_, coverage)| self.is_ours(coverage)) {
            Some((inventory, coverage)) => {
                self.ledger.take_inventory(inventory);
                info!(settled = coverage.settled, "inventory found");
                coverage
            }
            None => {
                warn!("the inventory is not of this log: it is read from the log again");
                from_scratch
            }
        }
    }

    fn is_ours(&self, coverage: &Coverage) -> bool {
        coverage.log_id == self.ledger.log().id() && coverage.settled <= self.ledger.log().size()
    }

    fn inventory_file(&self) -> PathBuf {
        self.settings.data_dir.join(FILE)
    }
}
