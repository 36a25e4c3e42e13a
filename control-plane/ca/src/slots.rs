//! Which CA may sign: prepared → active → retired → dropped, as a pure machine.
//!
//! Invariants, held after every step: at most one CA of a tier is active; an active CA is under an
//! active one: the issuing CA under the intermediate where there is one and otherwise under the
//! root; only an active CA signs; every root from prepared to retired is trusted; a retired CA is
//! dropped only after everything under it has expired. A failed step changes nothing. Nothing here
//! holds a key or reads a clock.

use std::collections::BTreeMap;

use countersign_issue::profile::Tier;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Time for which a retired CA is kept after the last known end: a leaf may have been in the middle
/// of its issuance when the CA retired.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(60);
/// Most roots at a time, and so in a bundle: a rotation beyond that waits for one to be dropped.
pub const MAX_ROOTS: usize = 16;
/// Most intermediates that are remembered.
pub const MAX_INTERMEDIATES: usize = 64;
/// Most issuing CAs that are remembered.
pub const MAX_ISSUING: usize = 1_024;

/// The state of one CA key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotState {
    /// Made, not signing yet (a root: in the bundle, waiting for its gate; an intermediate: waiting
    /// with its root).
    Prepared,
    /// Signing.
    Active,
    /// No longer signing; a root stays in the bundle while something under it lives.
    Retired,
}

impl SlotState {
    /// The word that operators and the log know it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

/// A step that the machine refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    /// There is no such CA, or not in the state that the step needs.
    #[error("the CA is not in the state that this step needs")]
    WrongState,
    /// A second root would be prepared.
    #[error("a root is prepared already")]
    AlreadyPrepared,
    /// The gate was opened for another bundle than the present one.
    #[error("the gate was opened for another bundle")]
    OtherBundle,
    /// More CAs than are remembered.
    #[error("too many CAs are still in use; wait until certificates under the oldest expire")]
    Full,
}

/// The state of one CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its place in the hierarchy.
    pub tier: Tier,
    /// Whether it signs.
    pub state: SlotState,
    /// Key id of its issuer; its own for a root.
    pub issued_by: String,
    /// NotAfter.
    pub not_after: Timestamp,
    /// NotAfter of the last leaf under it (an issuing CA).
    pub live_until: Option<Timestamp>,
}

/// Every CA, by key id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots(BTreeMap<String, Slot>);

impl Slots {
    /// The slots as they were stored.
    pub fn restore(slots: impl IntoIterator<Item = (String, Slot)>) -> Self {
        Self(slots.into_iter().collect())
    }

    /// Adds the first root of all, active at once: nobody trusts another yet.
    pub fn begin(&mut self, key_id: &str, not_after: Timestamp) -> Result<(), SlotError> {
        if !self.0.is_empty() {
            return Err(SlotError::WrongState);
        }
        self.insert(key_id, Tier::Root, SlotState::Active, key_id, not_after);
        Ok(())
    }

    /// Adds a root that waits for its gate.
    pub fn prepare_root(&mut self, key_id: &str, not_after: Timestamp) -> Result<(), SlotError> {
        if self.prepared_root().is_some() {
            return Err(SlotError::AlreadyPrepared);
        }
        self.has_room(Tier::Root)?;
        self.is_new(key_id)?;
        self.insert(key_id, Tier::Root, SlotState::Prepared, key_id, not_after);
        Ok(())
    }

    /// Adds an intermediate under the prepared root, that waits with it. One that waited before is
    /// replaced: it never signed.
    pub fn prepare_intermediate(
        &mut self,
        key_id: &str,
        issued_by: &str,
        not_after: Timestamp,
    ) -> Result<(), SlotError> {
        if self.prepared_root() != Some(issued_by) {
            return Err(SlotError::WrongState);
        }
        self.has_room(Tier::Intermediate)?;
        self.is_new(key_id)?;
        if let Some(before) = self.prepared_intermediate().map(str::to_owned) {
            self.0.remove(&before);
        }
        let (tier, state) = (Tier::Intermediate, SlotState::Prepared);
        self.insert(key_id, tier, state, issued_by, not_after);
        Ok(())
    }

    /// Activates the prepared root, and the intermediate that waits with it. `acknowledged` is the
    /// version of the bundle that every live consumer has, `present` that of the bundle which the
    /// prepared root is in. The old root and the CAs under it retire: an issuing CA under the new
    /// root must follow.
    pub fn activate_root(&mut self, acknowledged: &str, present: &str) -> Result<(), SlotError> {
        let key_id = self
            .prepared_root()
            .ok_or(SlotError::WrongState)?
            .to_owned();
        if acknowledged != present {
            return Err(SlotError::OtherBundle);
        }
        self.has_room(Tier::Issuing)?;
        let intermediate = self.prepared_intermediate().map(str::to_owned);
        for tier in [Tier::Root, Tier::Intermediate, Tier::Issuing] {
            self.retire_active(tier);
        }
        self.set(&key_id, SlotState::Active);
        if let Some(intermediate) = intermediate {
            self.set(&intermediate, SlotState::Active);
        }
        Ok(())
    }

    /// Adds an intermediate under the active root and activates it; the one before and its issuing
    /// CA retire: an issuing CA under the new one must follow.
    pub fn activate_intermediate(
        &mut self,
        key_id: &str,
        issued_by: &str,
        not_after: Timestamp,
    ) -> Result<(), SlotError> {
        if self.active(Tier::Root) != Some(issued_by) {
            return Err(SlotError::WrongState);
        }
        self.has_room(Tier::Intermediate)?;
        self.has_room(Tier::Issuing)?;
        self.is_new(key_id)?;
        self.retire_active(Tier::Intermediate);
        self.retire_active(Tier::Issuing);
        let (tier, state) = (Tier::Intermediate, SlotState::Active);
        self.insert(key_id, tier, state, issued_by, not_after);
        Ok(())
    }

    /// Adds an issuing CA under the active intermediate or root and activates it; the one before
    /// retires, and so does an intermediate that is passed by.
    pub fn activate_issuing(
        &mut self,
        key_id: &str,
        issued_by: &str,
        not_after: Timestamp,
    ) -> Result<(), SlotError> {
        let is_under_root = self.active(Tier::Root) == Some(issued_by);
        if !is_under_root && self.active(Tier::Intermediate) != Some(issued_by) {
            return Err(SlotError::WrongState);
        }
        self.has_room(Tier::Issuing)?;
        self.is_new(key_id)?;
        if is_under_root {
            self.retire_active(Tier::Intermediate);
        }
        self.retire_active(Tier::Issuing);
        let (tier, state) = (Tier::Issuing, SlotState::Active);
        self.insert(key_id, tier, state, issued_by, not_after);
        Ok(())
    }

    /// Notes the end of a leaf under an issuing CA.
    pub fn note_leaf(&mut self, issuer: &str, not_after: Timestamp) {
        if let Some(slot) = self.0.get_mut(issuer) {
            slot.live_until = slot.live_until.max(Some(not_after));
        }
    }

    /// Takes over the ends of leaves that were noted in another copy of these slots.
    pub fn absorb_leaves(&mut self, other: &Self) {
        for (key_id, slot) in &other.0 {
            if let Some(end) = slot.live_until {
                self.note_leaf(key_id, end);
            }
        }
    }

    /// Drops every retired CA that nothing lives under any more, and says which.
    pub fn drop_dead(&mut self, now: Timestamp) -> Vec<String> {
        let from_below = [Tier::Issuing, Tier::Intermediate, Tier::Root];
        let drop_tier = |tier| self.remove_dead(tier, now);
        from_below.into_iter().flat_map(drop_tier).collect()
    }

    /// The CA of a tier that may sign.
    pub fn active(&self, tier: Tier) -> Option<&str> {
        self.find(tier, SlotState::Active)
    }

    /// The root that waits for its gate.
    pub fn prepared_root(&self) -> Option<&str> {
        self.find(Tier::Root, SlotState::Prepared)
    }

    /// The intermediate that waits with it.
    pub fn prepared_intermediate(&self) -> Option<&str> {
        self.find(Tier::Intermediate, SlotState::Prepared)
    }

    /// The roots of the bundle, the active first.
    pub fn trusted_roots(&self) -> impl Iterator<Item = &str> {
        let roots = |active: bool| {
            self.0.iter().filter_map(move |(key_id, slot)| {
                let chosen = (slot.state == SlotState::Active) == active;
                (slot.tier == Tier::Root && chosen).then_some(key_id.as_str())
            })
        };
        roots(true).chain(roots(false))
    }

    /// The state of a CA.
    pub fn get(&self, key_id: &str) -> Option<&Slot> {
        self.0.get(key_id)
    }

    /// Every CA.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Slot)> {
        self.0.iter()
    }

    fn find(&self, tier: Tier, state: SlotState) -> Option<&str> {
        let mut all = self.0.iter();
        all.find(|(_, slot)| slot.tier == tier && slot.state == state)
            .map(|(key_id, _)| key_id.as_str())
    }

    fn insert(
        &mut self,
        key_id: &str,
        tier: Tier,
        state: SlotState,
        issued_by: &str,
        not_after: Timestamp,
    ) {
        let slot = Slot {
            tier,
            state,
            issued_by: issued_by.to_owned(),
            not_after,
            live_until: None,
        };
        self.0.insert(key_id.to_owned(), slot);
    }

    fn is_new(&self, key_id: &str) -> Result<(), SlotError> {
        let known = self.0.contains_key(key_id);
        if known {
            Err(SlotError::WrongState)
        } else {
            Ok(())
        }
    }

    fn has_room(&self, tier: Tier) -> Result<(), SlotError> {
        let used = self.0.values().filter(|slot| slot.tier == tier).count();
        let most = match tier {
            Tier::Root => MAX_ROOTS,
            Tier::Intermediate => MAX_INTERMEDIATES,
            Tier::Issuing => MAX_ISSUING,
        };
        if used < most {
            Ok(())
        } else {
            Err(SlotError::Full)
        }
    }

    fn set(&mut self, key_id: &str, state: SlotState) {
        if let Some(slot) = self.0.get_mut(key_id) {
            slot.state = state;
        }
    }

    fn retire_active(&mut self, tier: Tier) {
        if let Some(key_id) = self.active(tier).map(str::to_owned) {
            self.set(&key_id, SlotState::Retired);
        }
    }

    fn remove_dead(&mut self, tier: Tier, now: Timestamp) -> Vec<String> {
        let dead: Vec<String> = self
            .0
            .iter()
            .filter(|(key_id, slot)| slot.tier == tier && self.is_dead(key_id, slot, now))
            .map(|(key_id, _)| key_id.clone())
            .collect();
        for key_id in &dead {
            self.0.remove(key_id);
        }
        dead
    }

    fn is_dead(&self, key_id: &str, slot: &Slot, now: Timestamp) -> bool {
        let is_under = |child: &Slot| child.tier != Tier::Root && child.issued_by == *key_id;
        let passed = |end: Timestamp| now.duration_since(end) > IN_FLIGHT;
        slot.state == SlotState::Retired
            && !self.0.values().any(is_under)
            && slot.live_until.is_none_or(passed)
    }
}

#[cfg(test)]
mod tests;
