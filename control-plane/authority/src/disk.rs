//! What the disk or the database does not take: told in readiness and `status`, and tried again by itself, so that
//! a control plane that nobody sends a write while it is not ready becomes ready again.

use countersign_store::DATABASE;
use jiff::Timestamp;
use tracing::info;

use super::{Authority, StoreSettings};

impl Authority {
    /// Whether the store takes writes.
    pub fn is_writable(&self) -> bool {
        !self.store.refused().is_refusing()
            && !self.store.deaf().is_refusing()
            && !self.store.behind().is_refusing()
            && !self.store.is_stopped()
    }

    /// What the disk refused last, for people; empty where it takes everything.
    pub(super) fn refused_writes(&self, now: Timestamp) -> Vec<String> {
        let database = match &self.settings.store {
            StoreSettings::Sqlite => {
                let file = self.backups.data_dir().path().join(DATABASE);
                format!("writes to {}", file.display())
            }
            StoreSettings::Postgres { address, .. } => format!("writes to the database {address}"),
        };
        let of_store = self.store.refused().told(&database, now);
        let of_log = self
            .ledger
            .log()
            .refused()
            .told("entries of the issuance log", now);
        let of_others = match &self.settings.store {
            StoreSettings::Sqlite => [None, None],
            StoreSettings::Postgres { address, .. } => {
                let notices = format!("notices of the database {address}");
                let commits = format!("commits of others to the database {address}");
                [
                    self.store.deaf().told(&notices, now),
                    self.store.behind().told(&commits, now),
                ]
            }
        };
        let of_others = of_others.into_iter().flatten();
        of_store
            .into_iter()
            .chain(of_others)
            .chain(of_log)
            .collect()
    }

    /// Writes a little where something was refused, and takes it back.
    pub(super) async fn try_writes_again(&self) {
        self.store.try_again().await;
        if !self.ledger.log().refused().is_refusing()
            || !self.ledger.log().bytes().needs_only_room()
        {
            return;
        }
        let Some(this) = self.this.upgrade() else {
            return;
        };
        let tried = tokio::task::spawn_blocking(move || this.backups.data_dir().try_room());
        if matches!(tried.await, Ok(Ok(()))) && self.ledger.log().refused().taken() {
            info!("there is room for the issuance log again");
        }
    }
}
