//! Taking registrations away: by hand, or because their time has come.

use countersign_model::Registration;
use countersign_proto::log::Removed;
use countersign_proto::log::entry::What;
use countersign_registry::Tombstone;
use jiff::Timestamp;
use tracing::info;

use super::state::{Change, State};
use super::{Authority, AuthorityError};

/// Most registrations that one tick removes because they ended; the next tick goes on.
const EXPIRED_PER_TICK: usize = 10_000;

/// Why a registration goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// An operator took it away.
    Unregistered,
    /// Its time has come.
    Expired,
}

impl Reason {
    /// Its name in the log.
    fn as_str(self) -> &'static str {
        match self {
            Self::Unregistered => "unregistered",
            Self::Expired => "expired",
        }
    }

    fn entry(self, gone: &Registration) -> What {
        What::Removed(Removed {
            entitlement: gone.key.entitlement_id().to_string(),
            id: gone.key.id.to_string(),
            node: gone.key.node().map(ToString::to_string).unwrap_or_default(),
            reason: self.as_str().to_owned(),
        })
    }
}

impl Authority {
    /// Removes what has ended, as `unregister` would.
    pub(super) async fn remove_ended(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let ended = self.state.read().registry.ended(now, EXPIRED_PER_TICK);
        if !ended.is_empty() {
            self.remove(&ended, Reason::Expired, now).await?;
        }
        Ok(())
    }

    /// Removes registrations for good and says until when what was issued for them is valid: also
    /// what was given out while the removal was committed, for only then does the right end. Holds
    /// no lock of its own: registrations are written one at a time.
    pub(super) async fn remove(
        &self,
        registrations: &[Registration],
        reason: Reason,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, AuthorityError> {
        let tombstones = self.tombstones(registrations, now).into_iter();
        let buried = tombstones.filter_map(Change::buried);
        let names = registrations.iter().map(|gone| gone.key.entitlement_id());
        let gone = names.map(|id| Change::Registration(id, None));
        let changes = buried.chain(gone).collect();
        let what = registrations.iter().map(|gone| reason.entry(gone));
        // Under the lock that ends the right: nothing is given out after this look.
        let gone = registrations.to_vec();
        let last_end = move |state: &State| {
            let ends = gone.iter();
            ends.filter_map(|gone| state.end_after(gone, now)).max()
        };
        let changed = self.change(what.collect(), changes, Vec::new(), last_end, now);
        let (_, valid_until) = changed.await?;
        for gone in registrations {
            let (id, node) = (&gone.key.id, gone.key.node().map(tracing::field::display));
            info!(spiffe_id = %id, node, reason = reason.as_str(), "registration removed");
        }
        Ok(valid_until)
    }

    fn tombstones(&self, registrations: &[Registration], now: Timestamp) -> Vec<Tombstone> {
        let state = self.state.read();
        let tombstone = |gone| Tombstone::of(gone, state.end_after(gone, now), now);
        registrations.iter().filter_map(tombstone).collect()
    }
}

impl State {
    /// Until when something that was issued for a registration is valid, if anything still is.
    fn end_after(&self, registration: &Registration, now: Timestamp) -> Option<Timestamp> {
        let entitlement = registration.key.entitlement_id();
        let end = match registration.key.node() {
            Some(node) => self.published.last_end(node, &entitlement),
            None => self.manual.last_end(&entitlement),
        };
        end.filter(|end| *end > now)
    }
}
