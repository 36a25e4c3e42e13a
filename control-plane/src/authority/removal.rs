//! Taking registrations away: by hand, or because their time has come.

use countersign_model::Registration;
use countersign_proto::log::Removed;
use countersign_proto::log::entry::What;
use jiff::Timestamp;
use tracing::info;

use super::{Authority, AuthorityError, Change};
use crate::registry::Tombstone;
use crate::store::{Change as Write, Kind};

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
        let ended = self.read().registry.ended(now, EXPIRED_PER_TICK);
        if !ended.is_empty() {
            self.remove(&ended, Reason::Expired, now).await?;
        }
        Ok(())
    }

    /// Removes registrations for good and says until when what was issued for them is valid. Holds
    /// no lock of its own: registrations are written one at a time.
    pub(super) async fn remove(
        &self,
        registrations: &[Registration],
        reason: Reason,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, AuthorityError> {
        let (tombstones, valid_until) = self.tombstones(registrations, now);
        let graves = tombstones
            .iter()
            .map(|grave| Write::put(Kind::Tombstone, grave.key(), grave));
        let removals = registrations
            .iter()
            .map(|gone| Write::remove(Kind::Registration, gone.key.entitlement_id().as_str()));
        let writes = graves.chain(removals).collect();
        let what = registrations
            .iter()
            .map(|gone| reason.entry(gone))
            .collect();
        let committed = self.commit_logged(what, |_| writes, Vec::new(), now);
        let (_, seq) = committed.await?;
        {
            let mut state = self.write();
            for gone in registrations {
                state.registry.remove(&gone.key);
                if let Some(node) = gone.key.node() {
                    state.published.remove(node, &gone.key.entitlement_id());
                }
            }
            for tombstone in tombstones {
                state.registry.tombstones.bury(tombstone);
            }
        }
        let changes = registrations.iter().filter_map(|gone| {
            let node = gone.key.node()?.clone();
            Some(Change::Entitlement(node, gone.key.entitlement_id()))
        });
        self.announce(seq, changes);
        for gone in registrations {
            let (id, node) = (&gone.key.id, gone.key.node().map(tracing::field::display));
            info!(spiffe_id = %id, node, reason = reason.as_str(), "registration removed");
        }
        Ok(valid_until)
    }

    fn tombstones(
        &self,
        registrations: &[Registration],
        now: Timestamp,
    ) -> (Vec<Tombstone>, Option<Timestamp>) {
        let state = self.read();
        let ends = registrations.iter().map(|gone| {
            let entitlement = gone.key.entitlement_id();
            let end = match gone.key.node() {
                Some(node) => state.published.last_end(node, &entitlement),
                None => state.signed_by_hand.last_end(&entitlement),
            };
            end.filter(|end| *end > now)
        });
        let ends: Vec<_> = ends.collect();
        let graves = registrations.iter().zip(&ends);
        let tombstones = graves.filter_map(|(gone, end)| Tombstone::of(gone, *end, now));
        let tombstones = tombstones.collect();
        (tombstones, ends.into_iter().flatten().max())
    }
}
