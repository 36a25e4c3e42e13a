//! A registration on its way to be kept, and what else is asked for in the same call.

use std::collections::BTreeSet;

use countersign_model::{EntitlementId, RegistrationKey, SpiffeId};
use countersign_proto::log::Registered;
use countersign_proto::log::entry::What;
use countersign_refusal::Denied;
use countersign_registry::{Kept, TombstoneKey, Written};
use jiff::Timestamp;

use super::super::RegistrationRequest;
use super::super::state::Change;

/// A registration that is about to be kept.
pub(super) struct Draft {
    pub(super) written: Written,
    /// The key epoch, and when it was raised last: higher than that of what is there where
    /// certificates from before are superseded.
    pub(super) epoch: (u64, Option<Timestamp>),
    /// The key epoch that it began with, where everybody who uses the database reads that.
    pub(super) began: Option<u64>,
    /// Whether the criticality of what is there is left as it is.
    pub(super) keeps_criticality: bool,
}

impl Draft {
    /// What changes; its tombstone goes.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change> + use<> {
        let (key_epoch, raised_at) = self.epoch;
        let registered = Change::registered(Kept {
            registration: self.written.registration.clone(),
            key_epoch,
            raised_at,
            began: self.began,
        });
        let tombstone = TombstoneKey::of(&self.written.registration.key);
        let tombstone = tombstone.map(|key| Change::Tombstone(key, None));
        [registered].into_iter().chain(tombstone)
    }

    pub(super) fn entry(&self) -> What {
        let Written {
            registration,
            before,
            ..
        } = &self.written;
        What::Registered(Registered {
            entitlement: registration.key.entitlement_id().to_string(),
            registration: serde_json::to_string(registration).expect("our records are plain JSON"),
            updated: before.is_some(),
        })
    }
}

/// What else is asked for in the same call: all of it is to stand, or nothing.
#[derive(Default)]
pub(super) struct Together {
    pub(super) nodes: BTreeSet<SpiffeId>,
    seen: BTreeSet<EntitlementId>,
    pub(super) created: usize,
    places: u64,
}

impl Together {
    pub(super) fn of(requests: &[RegistrationRequest]) -> Self {
        let keys = requests.iter().map(|request| &request.registration.key);
        Self {
            nodes: keys.filter_map(RegistrationKey::node).cloned().collect(),
            ..Self::default()
        }
    }

    /// The place of the next one, in the order in which they are asked for.
    pub(super) fn next_place(&mut self) -> u64 {
        self.places += 1;
        self.places - 1
    }

    pub(super) fn check_once(&mut self, key: &RegistrationKey) -> Result<(), Denied> {
        if self.seen.insert(key.entitlement_id()) {
            return Ok(());
        }
        Err(Denied {
            code: "registered_twice",
            message: format!("{key} is asked for twice, with the same selectors"),
            remedy: "write each registration once",
        })
    }
}
