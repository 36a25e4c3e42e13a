//! How many CAs are remembered, and how many of one owner.

use std::collections::BTreeSet;

use countersign_issue::profile::Tier;

use super::{Slot, SlotError, SlotState, Slots};

/// Most roots at a time, and so in a bundle: a rotation beyond that waits for one to be dropped.
pub const MAX_ROOTS: usize = 16;
/// Most intermediates that are remembered.
pub const MAX_INTERMEDIATES: usize = 64;
/// Most issuing CAs that are remembered, those of all owners together.
pub const MAX_ISSUING: usize = 1_024;
/// Most issuing CAs of one replica that are remembered. One that rotates without end leaves room for
/// seven others. A control plane without a name has no others, and all the room.
pub const MAX_ISSUING_OF_ONE: usize = MAX_ISSUING / 8;

impl Slots {
    /// Whether a key that is about to be certified can become an owner's issuing CA.
    ///
    /// # Errors
    /// It is a CA's already, or there are too many.
    pub fn may_activate_issuing(&self, owner: &str, key_id: &str) -> Result<(), SlotError> {
        self.has_room_for(owner)?;
        self.is_new(key_id)
    }

    /// Whether there is room for another root or intermediate.
    pub(super) fn has_room(&self, tier: Tier) -> Result<(), SlotError> {
        let most = match tier {
            Tier::Root => MAX_ROOTS,
            Tier::Intermediate => MAX_INTERMEDIATES,
            Tier::Issuing => MAX_ISSUING,
        };
        fits(self.count(|slot| slot.tier == tier) < most)
    }

    /// Whether there is room for another issuing CA of an owner.
    pub(super) fn has_room_for(&self, owner: &str) -> Result<(), SlotError> {
        self.has_room(Tier::Issuing)?;
        let is_its = |slot: &Slot| slot.tier == Tier::Issuing && slot.owner == owner;
        fits(owner.is_empty() || self.count(is_its) < MAX_ISSUING_OF_ONE)
    }

    /// Whether there is room for the issuing CAs that must follow when all retire: one of every owner
    /// that has an active one, and one at least.
    pub(super) fn has_room_for_all(&self) -> Result<(), SlotError> {
        self.has_room(Tier::Issuing)?;
        let is_active =
            |slot: &&Slot| slot.tier == Tier::Issuing && slot.state == SlotState::Active;
        let active = self.0.values().filter(is_active);
        let owners: BTreeSet<_> = active.map(|slot| slot.owner.as_str()).collect();
        for owner in &owners {
            self.has_room_for(owner)?;
        }
        let used = self.count(|slot| slot.tier == Tier::Issuing);
        fits(used + owners.len() <= MAX_ISSUING)
    }

    fn count(&self, is_counted: impl Fn(&Slot) -> bool) -> usize {
        self.0.values().filter(|slot| is_counted(slot)).count()
    }
}

fn fits(does: bool) -> Result<(), SlotError> {
    does.then_some(()).ok_or(SlotError::Full)
}
