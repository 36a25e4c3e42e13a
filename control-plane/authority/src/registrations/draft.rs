//! A registration on its way to be kept, and what else is asked for in the same call.

use std::collections::BTreeSet;

use countersign_model::{EntitlementId, RegistrationKey, SpiffeId};
use countersign_proto::log::Registered;
use countersign_proto::log::entry::What;
use countersign_refusal::Denied;
use countersign_registry::{Kept, TombstoneKey, Written};

use super::super::RegistrationRequest;
use super::super::state::Change;

/// A registration that is about to be kept.
pub(super) struct Draft {
    pub(super) written: Written,
    /// Whether certificates from before are superseded.
    pub(super) raises: bool,
    /// The key epoch of what is there.
    pub(super) present: u64,
    /// Whether the criticality of what is there is left as it is.
    pub(super) keeps_criticality: bool,
}

impl Draft {
    /// What is kept when its entry is at this index of the log.
    fn kept_at(&self, index: u64) -> Kept {
        let mut registration = self.written.registration.clone();
        if self.written.before.is_none() {
            registration.created_seq = index;
        }
        Kept {
            registration,
            key_epoch: if self.raises { index } else { self.present },
        }
    }

    /// What changes when its entry is at this index of the log; its tombstone goes.
    pub(super) fn changes(&self, index: u64) -> impl Iterator<Item = Change> + use<> {
        let registered = Change::registered(self.kept_at(index));
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

    /// What was written, once its entry is at this index of the log.
    pub(super) fn written_at(mut self, index: u64) -> Written {
        self.written.registration = self.kept_at(index).registration;
        self.written
    }
}

/// What else is asked for in the same call: all of it is to stand, or nothing.
#[derive(Default)]
pub(super) struct Together {
    pub(super) nodes: BTreeSet<SpiffeId>,
    seen: BTreeSet<EntitlementId>,
    pub(super) created: usize,
}

impl Together {
    pub(super) fn of(requests: &[RegistrationRequest]) -> Self {
        let keys = requests.iter().map(|request| &request.registration.key);
        Self {
            nodes: keys.filter_map(RegistrationKey::node).cloned().collect(),
            ..Self::default()
        }
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
