//! Rotating issuing CAs and roots.
//!
//! Every step works on a copy of the slots: keys and certificates are made, the copy is stored,
//! and only then seen. A step that fails or crashes leaves what was there. So does one of CAs that
//! another replica changed meanwhile: every change writes the sequence of the bundle, and is made only
//! if that is as it was read.

use countersign_ca::authorities::CaRecord;
use countersign_ca::bundle;
use countersign_ca::key::CaKey;
use countersign_ca::slots::{SlotError, SlotState, Slots};
use countersign_fleet::Event;
use countersign_fleet::gate::GateOpen;
use countersign_issue::not_before;
use countersign_issue::profile::{Issuer, Profile, Subject, Tier, ca_name};
use countersign_proto::log::entry::What;
use countersign_refusal::Unavailable;
use countersign_store::{Kind, Precondition, Write};
use jiff::Timestamp;
use tracing::info;

use super::ca_requests::CaRequests;
use super::ca_set::{CaSet, Certified, HeldKey};
use super::hierarchy::{no_root, no_signer};
use super::importing::REQUESTED;
use super::record::NotCommitted;
use super::{Authority, AuthorityError, AuthorityInfo, Tiers, stored_cas};

/// Key of the bundle's sequence in the store.
pub(super) const BUNDLE_SEQUENCE: &str = "bundle_sequence";

impl Authority {
    /// Every CA, newest first.
    pub fn tiers(&self) -> Tiers {
        let cas = self.hierarchy.read();
        let of_tier = |tier| {
            let records = cas.authorities.of_tier(tier).into_iter();
            records.map(|(ca, state)| cas.info(ca, state)).collect()
        };
        Tiers {
            roots: of_tier(Tier::Root),
            intermediates: of_tier(Tier::Intermediate),
            issuing: of_tier(Tier::Issuing),
        }
    }

    /// Which tiers have a CA that signs here, and its end.
    pub fn signs_until(&self) -> Vec<(&'static str, Timestamp)> {
        let cas = self.hierarchy.read();
        let tiers = [Tier::Root, Tier::Intermediate, Tier::Issuing].into_iter();
        let signing = tiers.filter_map(|tier| Some((tier.as_str(), cas.active(tier)?.not_after)));
        signing.collect()
    }

    /// Roots and issuing CAs, newest first.
    pub fn authorities(&self) -> (Vec<AuthorityInfo>, Vec<AuthorityInfo>) {
        let Tiers { roots, issuing, .. } = self.tiers();
        (roots, issuing)
    }

    /// The prepared root, where there is one.
    pub fn prepared_root(&self) -> Option<AuthorityInfo> {
        let cas = self.hierarchy.read();
        let key_id = cas.authorities.slots().prepared_root()?;
        let record = cas.authorities.record(key_id)?;
        Some(AuthorityInfo::of(record, SlotState::Prepared))
    }

    /// Whether the prepared root can be activated here: another replica may have its key.
    pub fn can_activate(&self) -> bool {
        let cas = self.hierarchy.read();
        let slots = cas.authorities.slots();
        // A root that is not ours waits with the intermediate that signs here.
        let signer = slots
            .prepared_intermediate()
            .or_else(|| slots.prepared_root());
        let signer = signer.and_then(|key_id| cas.authorities.record(key_id));
        signer.is_some_and(|it| !cas.shares(it) || cas.key(&it.key_id).is_some())
    }

    /// Makes a new issuing CA under the active root and activates it: the bundle stays as it is. Where
    /// another replica has the root's key, it is asked for one.
    ///
    /// # Errors
    /// The store or a key is unavailable; another replica was asked.
    pub async fn rotate_issuing(&self, now: Timestamp) -> Result<AuthorityInfo, AuthorityError> {
        if self.asks_for_issuing() {
            return self.ask_by_hand(now).await;
        }
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let mut next = this.hierarchy.read().clone();
            let made = this.add_issuing(&mut next, now).await;
            let replaced = this.replace(made, next, [Event::Authorities], now);
            let record = replaced.await?;
            info!(key_id = record.key_id, "issuing CA rotated");
            Ok(AuthorityInfo::of(&record, SlotState::Active))
        })
        .await
    }

    /// Makes a new root and puts it into the bundle; resumes one that is prepared already.
    ///
    /// # Errors
    /// The store or a key is unavailable.
    pub async fn prepare_root(&self, now: Timestamp) -> Result<AuthorityInfo, AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            if let Some(prepared) = this.prepared_root() {
                return Ok(prepared);
            }
            let mut next = this.hierarchy.read().clone();
            let made = this.add_root(&mut next, Slots::prepare_root, now).await;
            let replaced = this.replace(made, next, [Event::Bundle], now);
            let record = replaced.await?;
            info!(key_id = record.key_id, "root prepared");
            Ok(AuthorityInfo::of(&record, SlotState::Prepared))
        })
        .await
    }

    /// Activates the prepared root: makes a new issuing CA under it, retires the old ones.
    ///
    /// # Errors
    /// The gate was opened for another bundle; the root is not valid yet; the store or a key is
    /// unavailable.
    pub async fn activate_root(
        &self,
        gate: GateOpen,
        now: Timestamp,
    ) -> Result<AuthorityInfo, AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.turn().await?;
            let mut next = this.hierarchy.read().clone();
            let present = this.bundle().0.version().to_owned();
            next.retires_at(now);
            let slots = next.authorities.slots_mut();
            slots.activate_root(gate.bundle_version(), &present)?;
            let active = next.active(Tier::Root).cloned();
            let root = active.ok_or_else(no_root)?;
            if root.not_before > now {
                return Err(not_valid_yet(&root));
            }
            let made = this.add_below_root(&mut next, now).await;
            this.replace(made, next, [Event::Authorities], now).await?;
            info!(key_id = root.key_id, "root activated");
            Ok(AuthorityInfo::of(&root, SlotState::Active))
        })
        .await
    }

    /// The first root and issuing CA of all.
    pub(super) async fn make_first_cas(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let mut next = self.hierarchy.read().clone();
        let made = match self.add_root(&mut next, Slots::begin, now).await {
            Ok(root) => { self.add_below_root(&mut next, now).await }.map(|()| root),
            Err(error) => Err(error),
        };
        let changes = [Event::Bundle, Event::Authorities];
        let root = self.replace(made, next, changes, now).await?;
        info!(key_id = root.key_id, "root and issuing CA made");
        Ok(())
    }

    /// Makes a root and gives it its slot in `next`.
    async fn add_root(
        &self,
        next: &mut CaSet,
        slot: impl FnOnce(&mut Slots, &str, Timestamp) -> Result<(), SlotError>,
        now: Timestamp,
    ) -> Result<CaRecord, AuthorityError> {
        let store = self.root_store()?;
        let held = self.make_key(next, store)?;
        let key = &held.key;
        let end = now.checked_add(self.settings.root_ttl);
        let backdate = self.settings.times.of(Profile::Root).backdate;
        let issuer = Issuer {
            key_id: key.key_id().to_owned(),
            key_identifier: key.key_id().to_owned(),
            common_name: ca_name(Tier::Root, key.key_id()),
            not_before: now.checked_sub(backdate).unwrap_or(now),
            not_after: end.unwrap_or(Timestamp::MAX),
        };
        let signer = (&issuer, key.as_ref());
        let certified = Certified::of(Tier::Root, &held, "");
        let record = self.certify_ca(next, certified, signer, now).await?;
        let slots = next.authorities.slots_mut();
        slot(slots, &record.key_id, record.not_after)?;
        next.authorities.keep(record.clone());
        next.keys.insert(record.key_id.clone(), held);
        Ok(record)
    }

    /// Makes an issuing CA under the active intermediate or root of `next` and activates it there.
    pub(super) async fn add_issuing(
        &self,
        next: &mut CaSet,
        now: Timestamp,
    ) -> Result<CaRecord, AuthorityError> {
        next.retires_at(now);
        let tier = next.parent_tier(self.settings.hierarchy.intermediate.is_some());
        let (parent, parent_key) = next.signer(tier).ok_or_else(no_signer)?;
        let held = self.make_key(next, self.settings.hierarchy.issuing)?;
        let signer = (&parent, parent_key.as_ref());
        let certified = Certified::of(Tier::Issuing, &held, self.settings.replica());
        let record = self.certify_ca(next, certified, signer, now).await?;
        next.activate_issuing(record.clone(), &parent.key_id)?;
        next.keys.insert(record.key_id.clone(), held);
        // What another replica was asked for is not needed any more.
        next.asked = None;
        Ok(record)
    }

    /// Certifies a key of a CA that was made for `next`.
    pub(super) async fn certify_ca(
        &self,
        next: &mut CaSet,
        certified: Certified<'_>,
        (issuer, issuer_key): (&Issuer, &dyn CaKey),
        now: Timestamp,
    ) -> Result<CaRecord, AuthorityError> {
        self.begin_change(now).await?;
        if issuer.not_before > now {
            self.check_clock(now)?;
        }
        let Certified {
            tier,
            owner,
            store,
            key_id,
            spki,
        } = certified;
        let (ttl, times) = (self.ca_ttl(tier), &self.settings.times);
        let subject = Subject::ca(tier, key_id, self.trust_domain(), ttl, times);
        let subject = subject.of_replica(owner);
        let not_before = not_before(&subject, now, issuer);
        let subject = Box::new(subject);
        let signed = self.certify(subject, spki, issuer, issuer_key, now);
        let signed = signed.await?;
        let issuance = signed.issuance();
        let record = CaRecord {
            key_id: key_id.to_owned(),
            tier,
            owner: owner.to_owned(),
            store: Some(store),
            key_identifier: key_id.to_owned(),
            serial: issuance.serial.to_string(),
            issued_by: issuer.key_id.clone(),
            issued_at: issuance.issued_at,
            not_before,
            not_after: issuance.not_after,
            certificate: signed.certificate().clone(),
        };
        next.certified(&record.key_id, signed);
        Ok(record)
    }

    /// Stores the new CAs, then shows them; destroys keys that may not sign any more.
    pub(super) async fn store_cas(
        &self,
        mut next: CaSet,
        changes: impl IntoIterator<Item = Event> + Send + 'static,
        now: Timestamp,
    ) -> Result<(), NotCommitted> {
        next.authorities.prune();
        let (mut writes, steps) = {
            let present = &self.hierarchy.read().authorities;
            let steps = next.authorities.steps_since(present);
            (stored_cas::changes(present, &next.authorities), steps)
        };
        writes.extend(self.told_to_replicas(&mut next));
        if next.requested.is_none() && self.hierarchy.read().requested.is_some() {
            writes.push(Write::remove(Kind::Meta, self.facts.key(REQUESTED)));
        }
        let fresh = bundle::of(self.trust_domain(), &next.authorities);
        let fresh = fresh.map_err(|error| AuthorityError::from(Unavailable::retry(error)))?;
        let present = self.hierarchy.bundle();
        let is_new_bundle = present
            .as_ref()
            .is_none_or(|present| present.0.version() != fresh.version());
        let sequence = present.map_or(0, |present| present.1) + u64::from(is_new_bundle);
        writes.push(Write::put(Kind::Meta, BUNDLE_SEQUENCE, &sequence));
        let what = steps.into_iter().map(What::Rotated).collect();
        let as_read = Precondition::Unchanged(Kind::Meta, BUNDLE_SEQUENCE.to_owned(), next.written);
        let (answers, unasked) = (next.answers.take(), self.unasked(&next));
        let asked = answers
            .iter()
            .map(|(replica, seq)| Precondition::Unchanged(Kind::CaRequest, replica.clone(), *seq));
        let preconditions = [as_read].into_iter().chain(asked).collect();
        let take = move |this: &Self, seq| {
            next.written = seq;
            if let Some((replica, _)) = answers {
                let forget = |requests: &mut CaRequests| requests.forget(&replica);
                this.hierarchy.requests(forget);
            }
            let idle = this.show_cas(next);
            if is_new_bundle {
                this.hierarchy.show_bundle(fresh, sequence);
            }
            this.state.announce(seq, changes);
            idle
        };
        let committed = self.commit_logged(what, writes, preconditions, take, now);
        let (_, idle) = committed.await?;
        { idle.iter() }
            .chain(&unasked)
            .for_each(|held| self.destroy(held));
        Ok(())
    }

    /// Shows CAs that are durable, and gives those of our keys that may not sign any more.
    pub(super) fn show_cas(&self, mut next: CaSet) -> Vec<HeldKey> {
        let idle = next.idle_keys();
        let idle = idle.iter().filter_map(|id| next.keys.remove(id)).collect();
        self.hierarchy.replace(next, |next, present| {
            let noted = present.authorities.slots();
            next.authorities.slots_mut().absorb_leaves(noted);
        });
        idle
    }
}

/// What it signed would be refused by everybody.
fn not_valid_yet(root: &CaRecord) -> AuthorityError {
    Unavailable::retry(format!(
        "the root {} is not valid before {}",
        root.key_id, root.not_before
    ))
    .into()
}
