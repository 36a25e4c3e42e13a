//! The CAs in memory: their slots and certificates, and the keys that may sign.

mod waiting;

use std::collections::HashMap;
use std::sync::Arc;

use countersign_ca::authorities::{Authorities, CaRecord, Path};
use countersign_ca::key::{CaKey, StoreKind};
use countersign_ca::sign::Signed;
use countersign_ca::slots::{SlotError, SlotState};
use countersign_issue::profile::{Issuer, Tier};
use countersign_model::{Seq, whole_second};
use jiff::Timestamp;

use super::AuthorityInfo;
use super::ca_requests::CaRequested;
use super::stored_cas::TakenCa;

/// The CAs and the keys that this process can sign with.
#[derive(Clone, Debug)]
pub(super) struct CaSet {
    /// The owner of the issuing CAs that are ours: the name of this replica, empty where it is alone.
    own: String,
    pub(super) authorities: Authorities,
    /// The commit that changed the CAs last.
    pub(super) written: Seq,
    pub(super) keys: HashMap<String, HeldKey>,
    /// The intermediate's key that waits for its certificate from a root that is not ours.
    pub(super) requested: Option<HeldKey>,
    /// What waits for its certificate as our issuing CA from another replica.
    pub(super) asked: Option<AskedKey>,
    /// The replica that signed an issuing CA last, as far as is known.
    pub(super) signer: Option<String>,
    /// Whose request is answered by this copy, and the commit of it, until it is stored.
    pub(super) answers: Option<(String, Seq)>,
    /// What was made for this copy, until it is stored.
    pub(super) made: Vec<Made>,
}

/// A key and the store that it is in.
#[derive(Clone, Debug)]
pub(super) struct HeldKey {
    pub(super) store: StoreKind,
    pub(super) key: Arc<dyn CaKey>,
}

/// A key that another replica was asked to certify.
#[derive(Clone, Debug)]
pub(super) struct AskedKey {
    pub(super) held: HeldKey,
    pub(super) request: CaRequested,
}

/// A key that was made for a copy of the CAs, or certified for another replica, and its certificate
/// once there is one.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) key_id: String,
    /// `None` where the key is another replica's.
    pub(super) held: Option<HeldKey>,
    pub(super) signed: Option<Arc<Signed>>,
}

/// A key that becomes that of a CA.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certified<'a> {
    pub(super) tier: Tier,
    /// The replica of an issuing CA.
    pub(super) owner: &'a str,
    pub(super) store: StoreKind,
    pub(super) key_id: &'a str,
    /// SubjectPublicKeyInfo, DER.
    pub(super) spki: &'a [u8],
}

impl<'a> Certified<'a> {
    /// A key that is here.
    pub(super) fn of(tier: Tier, held: &'a HeldKey, owner: &'a str) -> Self {
        Self {
            tier,
            owner,
            store: held.store,
            key_id: held.key.key_id(),
            spki: held.key.spki(),
        }
    }
}

/// When an intermediate that we cannot renew ourselves has this share of its life left, as one
/// over it, its operator is reminded.
const RENEWAL_SHARE: i32 = 3;

impl CaSet {
    /// No CAs yet, as of a commit. `own` is the owner of the issuing CAs that are ours.
    pub(super) fn new(own: &str, written: Seq) -> Self {
        Self {
            own: own.to_owned(),
            authorities: Authorities::default(),
            written,
            keys: HashMap::new(),
            requested: None,
            asked: None,
            signer: None,
            answers: None,
            made: Vec::new(),
        }
    }

    /// The owner of the issuing CAs that are ours.
    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// The CA of a tier that signs; of issuing CAs our own.
    pub(super) fn active(&self, tier: Tier) -> Option<&CaRecord> {
        match tier {
            Tier::Root => self.authorities.active_root(),
            Tier::Intermediate => self.authorities.active_intermediate(),
            Tier::Issuing => self.authorities.active_issuing(&self.own),
        }
    }

    /// Our own active issuing CA and its key.
    pub(super) fn issuing(&self) -> Option<(Issuer, Arc<dyn CaKey>)> {
        self.signer(Tier::Issuing)
    }

    pub(super) fn signer(&self, tier: Tier) -> Option<(Issuer, Arc<dyn CaKey>)> {
        let record = self.active(tier)?;
        Some((record.as_issuer(), self.key(&record.key_id)?))
    }

    pub(super) fn key(&self, key_id: &str) -> Option<Arc<dyn CaKey>> {
        Some(self.keys.get(key_id)?.key.clone())
    }

    /// What follows a leaf of this issuing CA: the CAs above it, root not included.
    pub(super) fn path(&self, issuing: &str) -> Option<Path> {
        self.authorities.path(issuing)
    }

    /// The CA that an issuing CA is made under: the intermediate where there shall be one, and
    /// where the root's key is not here.
    pub(super) fn parent_tier(&self, with_intermediate: bool) -> Tier {
        let root = self.active(Tier::Root);
        let is_foreign = root.is_some_and(|root| root.store.is_none());
        let has_one = self.active(Tier::Intermediate).is_some();
        if is_foreign || (with_intermediate && has_one) {
            Tier::Intermediate
        } else {
            Tier::Root
        }
    }

    /// The CA that issuing CAs of replicas are made under: the intermediate where there is one.
    pub(super) fn lowest(&self) -> Option<&CaRecord> {
        let intermediate = self.active(Tier::Intermediate);
        intermediate.or_else(|| self.active(Tier::Root))
    }

    /// Whether the key of the CA of a tier is here. It is where it is not shared.
    pub(super) fn has_key(&self, tier: Tier) -> bool {
        let signer = self.active(tier);
        signer.is_some_and(|it| !self.shares(it) || self.key(&it.key_id).is_some())
    }

    /// Gives a certified issuing CA its slot, as the active one of its owner.
    pub(super) fn activate_issuing(
        &mut self,
        record: CaRecord,
        parent: &str,
    ) -> Result<(), SlotError> {
        let slots = self.authorities.slots_mut();
        slots.activate_issuing(&record.owner, &record.key_id, parent, record.not_after)?;
        self.authorities.keep(record);
        Ok(())
    }

    /// Whether there is an issuing CA that is not among others.
    pub(super) fn has_issuing_beyond(&self, others: &Authorities) -> bool {
        let mut slots = self.authorities.slots().iter();
        slots.any(|(key_id, slot)| {
            slot.tier == Tier::Issuing && others.slots().get(key_id).is_none()
        })
    }

    /// What is shown of a CA.
    pub(super) fn info(&self, record: &CaRecord, state: SlotState) -> AuthorityInfo {
        AuthorityInfo {
            renew_by: self.renew_by(record),
            ..AuthorityInfo::of(record, state)
        }
    }

    /// When an active intermediate under a root that is not ours should have a successor.
    pub(super) fn renew_by(&self, record: &CaRecord) -> Option<Timestamp> {
        let slots = self.authorities.slots();
        let root = self.authorities.record(&record.issued_by)?;
        let is_active = slots.active_intermediate() == Some(&record.key_id);
        if !is_active || root.store.is_some() {
            return None;
        }
        let life = record.not_after.duration_since(record.issued_at);
        let renew_by = record.not_after.checked_sub(life / RENEWAL_SHARE).ok()?;
        Some(whole_second(renew_by))
    }

    /// The active intermediate, where its operator should bring a successor: its key id and its end.
    pub(super) fn ends_soon(&self, now: Timestamp) -> Option<(String, Timestamp)> {
        let present = self.active(Tier::Intermediate)?;
        let is_due = self
            .renew_by(present)
            .is_some_and(|renew_by| renew_by <= now);
        is_due.then(|| (present.key_id.clone(), present.not_after))
    }

    /// The ids of all CA keys: no leaf may have one of them.
    pub(super) fn key_ids(&self) -> Vec<String> {
        let slots = self.authorities.slots().iter();
        slots.map(|(key_id, _)| key_id.clone()).collect()
    }

    pub(super) fn note_leaf(&mut self, issuer: &str, not_after: Timestamp) {
        self.authorities.slots_mut().note_leaf(issuer, not_after);
    }

    /// Every CA that signs, or will.
    pub(super) fn signers(&self) -> impl Iterator<Item = &CaRecord> {
        let slots = self.authorities.slots().iter();
        let signers = slots.filter(|(_, slot)| slot.state != SlotState::Retired);
        signers.filter_map(|(key_id, _)| self.authorities.record(key_id))
    }

    /// Whether a CA's key may be here: those of root and intermediate, and of our own issuing CAs.
    pub(super) fn may_have_key(&self, record: &CaRecord) -> bool {
        record.tier != Tier::Issuing || record.owner == self.own
    }

    /// Whether a CA is shared with other replicas, so that its key need not be here.
    pub(super) fn shares(&self, record: &CaRecord) -> bool {
        record.tier != Tier::Issuing && !self.own.is_empty()
    }

    /// Keys of ours that no CA in here may sign with any more.
    pub(super) fn idle_keys(&self) -> Vec<String> {
        let slots = self.authorities.slots();
        let idle = |key_id: &&String| {
            let slot = slots.get(key_id);
            slot.is_none_or(|slot| slot.state == SlotState::Retired)
        };
        self.keys.keys().filter(idle).cloned().collect()
    }

    /// Our own issuing CA may sign until now: what lives under it is kept at least so long.
    pub(super) fn retires_at(&mut self, now: Timestamp) {
        if let Some(issuing) = self.authorities.slots().active_issuing(&self.own) {
            let issuing = issuing.to_owned();
            self.note_leaf(&issuing, now);
        }
    }

    /// Forgets the CAs that nothing lives under any more, and says which.
    pub(super) fn drop_dead(&mut self, now: Timestamp) -> Vec<String> {
        self.authorities.drop_dead(&self.own, now)
    }

    /// Takes the CAs as another replica stored them. A CA of ours that it retired may have signed
    /// until now.
    pub(super) fn take(&mut self, stored: Vec<TakenCa>, now: Timestamp) {
        self.retires_at(now);
        self.authorities.take(stored);
        self.settle_asked();
    }

    /// The key that was asked for is that of a CA once it was certified.
    pub(super) fn settle_asked(&mut self) {
        let is_known = |asked: &mut AskedKey| {
            let key_id = asked.held.key.key_id();
            self.authorities.record(key_id).is_some()
        };
        if let Some(AskedKey { held, .. }) = self.asked.take_if(is_known) {
            self.keys.insert(held.key.key_id().to_owned(), held);
        }
    }

    /// The certificate for a key that was made for this copy.
    pub(super) fn certified(&mut self, key_id: &str, signed: Signed) {
        let made = self.made.iter_mut();
        if let Some(made) = { made }.find(|made| made.key_id == key_id) {
            made.signed = Some(Arc::new(signed));
        }
    }
}
