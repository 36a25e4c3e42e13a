//! Which CA may sign: prepared → active → retired → dropped, as a pure machine.
//!
//! Root and intermediate are the trust domain's, and several control planes may share them; each has
//! an issuing CA of its own. The owner of an issuing CA is the name of that replica; a control plane
//! that is alone needs no name, and its own is the empty one.
//!
//! Invariants, held after every step: at most one root, one intermediate and one issuing CA of an
//! owner are active; an active CA is under an active one: an issuing CA under the intermediate where
//! there is one and otherwise under the root; only an active CA signs; every root from prepared to
//! retired is trusted; a retired CA is dropped only after everything under it has expired. A failed
//! step changes nothing. Nothing here holds a key or reads a clock.

mod room;

use std::collections::BTreeMap;

use countersign_issue::profile::Tier;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use room::{MAX_INTERMEDIATES, MAX_ISSUING, MAX_ISSUING_OF_ONE, MAX_ROOTS};

/// Time for which a retired CA is kept after the last known end: a leaf may have been in the middle
/// of its issuance when the CA retired.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(60);

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
    /// Whose it is: the replica that has the key of an issuing CA. Empty for a root and an
    /// intermediate, and where there are no replicas.
    pub owner: String,
    /// Key id of its issuer; its own for a root.
    pub issued_by: String,
    /// NotAfter.
    pub not_after: Timestamp,
    /// NotAfter of the last leaf under it (an issuing CA).
    pub live_until: Option<Timestamp>,
}

impl Slot {
    fn new(tier: Tier, state: SlotState, issued_by: &str, not_after: Timestamp) -> Self {
        Self {
            tier,
            state,
            owner: String::new(),
            issued_by: issued_by.to_owned(),
            not_after,
            live_until: None,
        }
    }
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
        self.insert(
            key_id,
            Slot::new(Tier::Root, SlotState::Active, key_id, not_after),
        );
        Ok(())
    }

    /// Adds a root that waits for its gate.
    pub fn prepare_root(&mut self, key_id: &str, not_after: Timestamp) -> Result<(), SlotError> {
        if self.prepared_root().is_some() {
            return Err(SlotError::AlreadyPrepared);
        }
        self.has_room(Tier::Root)?;
        self.is_new(key_id)?;
        let slot = Slot::new(Tier::Root, SlotState::Prepared, key_id, not_after);
        self.insert(key_id, slot);
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
        self.insert(key_id, Slot::new(tier, state, issued_by, not_after));
        Ok(())
    }

    /// Activates the prepared root, and the intermediate that waits with it. `acknowledged` is the
    /// version of the bundle that every live consumer has, `present` that of the bundle which the
    /// prepared root is in. The old root and the CAs under it retire, those of every owner: issuing
    /// CAs under the new root must follow.
    pub fn activate_root(&mut self, acknowledged: &str, present: &str) -> Result<(), SlotError> {
        let key_id = self
            .prepared_root()
            .ok_or(SlotError::WrongState)?
            .to_owned();
        if acknowledged != present {
            return Err(SlotError::OtherBundle);
        }
        self.has_room_for_all()?;
        let intermediate = self.prepared_intermediate().map(str::to_owned);
        self.retire(|_| true);
        self.set(&key_id, SlotState::Active);
        if let Some(intermediate) = intermediate {
            self.set(&intermediate, SlotState::Active);
        }
        Ok(())
    }

    /// Adds an intermediate under the active root and activates it; the one before and all issuing
    /// CAs retire: issuing CAs under the new one must follow.
    pub fn activate_intermediate(
        &mut self,
        key_id: &str,
        issued_by: &str,
        not_after: Timestamp,
    ) -> Result<(), SlotError> {
        if self.active_root() != Some(issued_by) {
            return Err(SlotError::WrongState);
        }
        self.has_room(Tier::Intermediate)?;
        self.has_room_for_all()?;
        self.is_new(key_id)?;
        self.retire(|slot| slot.tier != Tier::Root);
        let (tier, state) = (Tier::Intermediate, SlotState::Active);
        self.insert(key_id, Slot::new(tier, state, issued_by, not_after));
        Ok(())
    }

    /// Adds an issuing CA of an owner under the active intermediate or root and activates it; the
    /// owner's before it retires. Under the root it passes an active intermediate by: that retires
    /// with everything under it.
    pub fn activate_issuing(
        &mut self,
        owner: &str,
        key_id: &str,
        issued_by: &str,
        not_after: Timestamp,
    ) -> Result<(), SlotError> {
        let is_under_root = self.active_root() == Some(issued_by);
        if !is_under_root && self.active_intermediate() != Some(issued_by) {
            return Err(SlotError::WrongState);
        }
        self.has_room_for(owner)?;
        self.is_new(key_id)?;
        if is_under_root && self.active_intermediate().is_some() {
            self.retire(|slot| slot.tier != Tier::Root);
        }
        self.retire(|slot| slot.tier == Tier::Issuing && slot.owner == owner);
        let slot = Slot {
            owner: owner.to_owned(),
            ..Slot::new(Tier::Issuing, SlotState::Active, issued_by, not_after)
        };
        self.insert(key_id, slot);
        Ok(())
    }

    /// Retires the active issuing CA of an owner that is no more.
    pub fn retire_owner(&mut self, owner: &str) {
        self.retire(|slot| slot.tier == Tier::Issuing && slot.owner == owner);
    }

    /// Retires the active issuing CAs of everybody else: an owner is alone now.
    pub fn retire_others(&mut self, owner: &str) {
        self.retire(|slot| slot.tier == Tier::Issuing && slot.owner != owner);
    }

    /// Gives the issuing CAs of one owner to another: a control plane has another name now. Where the
    /// other has an active one already, that stays the only one.
    pub fn adopt(&mut self, from: &str, to: &str) {
        if from == to {
            return;
        }
        if self.active_issuing(to).is_some() {
            self.retire_owner(from);
        }
        let slots = self.0.values_mut();
        for slot in slots.filter(|slot| slot.tier == Tier::Issuing && slot.owner == from) {
            to.clone_into(&mut slot.owner);
        }
    }

    /// Takes a slot as another replica stored it; what is noted of its leaves stays.
    pub(super) fn put(&mut self, key_id: &str, slot: Slot) {
        let noted = self.0.get(key_id).and_then(|slot| slot.live_until);
        let live_until = slot.live_until.max(noted);
        self.insert(key_id, Slot { live_until, ..slot });
    }

    /// Forgets a slot that another replica dropped.
    pub(super) fn remove(&mut self, key_id: &str) {
        self.0.remove(key_id);
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

    /// Drops every retired CA that nothing lives under any more, and says which. Only the leaves of
    /// `owner` are known to have been noted: what another owner's issuing CA signed is over when
    /// that CA has ended.
    pub fn drop_dead(&mut self, owner: &str, now: Timestamp) -> Vec<String> {
        let from_below = [Tier::Issuing, Tier::Intermediate, Tier::Root];
        let drop_tier = |tier| self.remove_dead(tier, owner, now);
        from_below.into_iter().flat_map(drop_tier).collect()
    }

    /// The root that may sign.
    pub fn active_root(&self) -> Option<&str> {
        self.find(Tier::Root, SlotState::Active)
    }

    /// The intermediate that may sign.
    pub fn active_intermediate(&self) -> Option<&str> {
        self.find(Tier::Intermediate, SlotState::Active)
    }

    /// The issuing CA of an owner that may sign.
    pub fn active_issuing(&self, owner: &str) -> Option<&str> {
        let mut all = self.0.iter();
        let is_it = |slot: &Slot| {
            slot.tier == Tier::Issuing && slot.state == SlotState::Active && slot.owner == owner
        };
        all.find(|(_, slot)| is_it(slot))
            .map(|(key_id, _)| key_id.as_str())
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

    fn insert(&mut self, key_id: &str, slot: Slot) {
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

    fn set(&mut self, key_id: &str, state: SlotState) {
        if let Some(slot) = self.0.get_mut(key_id) {
            slot.state = state;
        }
    }

    /// Retires the active ones of some.
    fn retire(&mut self, is_one: impl Fn(&Slot) -> bool) {
        let active = |slot: &&mut Slot| slot.state == SlotState::Active && is_one(slot);
        for slot in self.0.values_mut().filter(active) {
            slot.state = SlotState::Retired;
        }
    }

    fn remove_dead(&mut self, tier: Tier, owner: &str, now: Timestamp) -> Vec<String> {
        let dead: Vec<String> = self
            .0
            .iter()
            .filter(|(key_id, slot)| slot.tier == tier && self.is_dead(key_id, slot, owner, now))
            .map(|(key_id, _)| key_id.clone())
            .collect();
        for key_id in &dead {
            self.0.remove(key_id);
        }
        dead
    }

    fn is_dead(&self, key_id: &str, slot: &Slot, owner: &str, now: Timestamp) -> bool {
        let is_under = |child: &Slot| child.tier != Tier::Root && child.issued_by == *key_id;
        let passed = |end: Timestamp| now.duration_since(end) > IN_FLIGHT;
        let is_foreign = slot.tier == Tier::Issuing && slot.owner != owner;
        let last_end = if is_foreign {
            Some(slot.not_after)
        } else {
            slot.live_until
        };
        slot.state == SlotState::Retired
            && !self.0.values().any(is_under)
            && last_end.is_none_or(passed)
    }
}

#[cfg(test)]
mod tests;
