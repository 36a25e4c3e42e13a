//! Rotating issuing CAs and roots.
//!
//! Every step works on a copy of the slots: keys and certificates are made, the copy is stored,
//! and only then seen. A step that fails or crashes leaves what was there.

use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use tracing::{error, info};

use super::cas::Cas;
use super::{Authority, AuthorityError, AuthorityInfo, Change, GateOpen};
use crate::ca::authorities::CaRecord;
use crate::ca::bundle;
use crate::ca::keys::CaKey;
use crate::ca::sign::sign;
use crate::ca::slots::{SlotState, Tier};
use crate::issue::profile::{Issuer, Profile, Subject, ca_name};
use crate::issue::{self, not_before};
use crate::store::{Change as Write, Kind};

/// Key of the bundle's sequence in the store.
pub(super) const BUNDLE_SEQUENCE: &str = "bundle_sequence";

impl Authority {
    /// Roots and issuing CAs, newest first.
    pub fn authorities(&self) -> (Vec<AuthorityInfo>, Vec<AuthorityInfo>) {
        let cas = self.cas();
        let of_tier = |tier| {
            let records = cas.authorities.of_tier(tier).into_iter();
            records.map(|(ca, state)| ca.as_info(state)).collect()
        };
        (of_tier(Tier::Root), of_tier(Tier::Issuing))
    }

    /// The prepared root, where there is one.
    pub fn prepared_root(&self) -> Option<AuthorityInfo> {
        let cas = self.cas();
        let key_id = cas.authorities.slots().prepared_root()?;
        let record = cas.authorities.record(key_id)?;
        Some(record.as_info(SlotState::Prepared))
    }

    /// Makes a new issuing CA under the active root and activates it: the bundle stays as it is.
    ///
    /// # Errors
    /// The store or a key is unavailable.
    pub async fn rotate_issuing(&self, now: Timestamp) -> Result<AuthorityInfo, AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.writing.lock().await;
            let mut next = this.cas().clone();
            let record = this.add_issuing(&mut next, now).await?;
            this.replace(next, [Change::Authorities]).await?;
            info!(key_id = record.key_id, "issuing CA rotated");
            Ok(record.as_info(SlotState::Active))
        })
        .await
    }

    /// Makes a new root and puts it into the bundle; resumes one that is prepared already.
    ///
    /// # Errors
    /// The store or a key is unavailable.
    pub async fn prepare_root(&self, now: Timestamp) -> Result<AuthorityInfo, AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.writing.lock().await;
            if let Some(prepared) = this.prepared_root() {
                return Ok(prepared);
            }
            let mut next = this.cas().clone();
            let record = this.make_root(&mut next, now).await?;
            let slots = next.authorities.slots_mut();
            slots.prepare_root(&record.key_id, record.not_after)?;
            next.authorities.keep(record.clone());
            this.replace(next, [Change::Bundle]).await?;
            info!(key_id = record.key_id, "root prepared");
            Ok(record.as_info(SlotState::Prepared))
        })
        .await
    }

    /// Activates the prepared root: makes a new issuing CA under it, retires the old ones.
    ///
    /// # Errors
    /// The gate was opened for another bundle; the store or a key is unavailable.
    pub async fn activate_root(
        &self,
        gate: GateOpen,
        now: Timestamp,
    ) -> Result<AuthorityInfo, AuthorityError> {
        self.to_the_end(async move |this| {
            let _one_at_a_time = this.writing.lock().await;
            let mut next = this.cas().clone();
            let present = this.bundle().0.version().to_owned();
            next.retires_at(now);
            let slots = next.authorities.slots_mut();
            slots.activate_root(&gate.bundle_version, &present)?;
            this.add_issuing(&mut next, now).await?;
            let active = next.authorities.active(Tier::Root).cloned();
            let root = active.ok_or_else(no_root)?;
            this.replace(next, [Change::Authorities]).await?;
            info!(key_id = root.key_id, "root activated");
            Ok(root.as_info(SlotState::Active))
        })
        .await
    }

    /// The first root and issuing CA of all.
    pub(super) async fn found(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let mut next = Cas::default();
        let root = self.make_root(&mut next, now).await?;
        let slots = next.authorities.slots_mut();
        slots.found(&root.key_id, root.not_after)?;
        next.authorities.keep(root.clone());
        self.add_issuing(&mut next, now).await?;
        self.replace(next, [Change::Bundle, Change::Authorities])
            .await?;
        info!(key_id = root.key_id, "root and issuing CA made");
        Ok(())
    }

    async fn make_root(&self, next: &mut Cas, now: Timestamp) -> Result<CaRecord, AuthorityError> {
        let key = self.keys.create()?;
        let end = now.checked_add(self.settings.root_ttl);
        let issuer = Issuer {
            key_id: key.key_id().to_owned(),
            common_name: ca_name(Tier::Root, key.key_id()),
            not_before: now.checked_sub(Profile::Root.backdate()).unwrap_or(now),
            not_after: end.unwrap_or(Timestamp::MAX),
        };
        let certified = self.certify_ca(Tier::Root, &key, &issuer, &key, now).await;
        let record = certified.inspect_err(|_| self.give_up(&key))?;
        next.keys.insert(record.key_id.clone(), key);
        Ok(record)
    }

    /// Makes an issuing CA under the active root of `next` and activates it there.
    async fn add_issuing(
        &self,
        next: &mut Cas,
        now: Timestamp,
    ) -> Result<CaRecord, AuthorityError> {
        next.retires_at(now);
        let (root, root_key) = next.signer(Tier::Root).ok_or_else(no_root)?;
        let key = self.keys.create()?;
        let certified = self
            .certify_ca(Tier::Issuing, &key, &root, &root_key, now)
            .await;
        let record = certified.inspect_err(|_| self.give_up(&key))?;
        let slots = next.authorities.slots_mut();
        slots.activate_issuing(&record.key_id, &root.key_id, record.not_after)?;
        next.authorities.keep(record.clone());
        next.keys.insert(record.key_id.clone(), key);
        Ok(record)
    }

    async fn certify_ca(
        &self,
        tier: Tier,
        key: &Arc<dyn CaKey>,
        issuer: &Issuer,
        issuer_key: &Arc<dyn CaKey>,
        now: Timestamp,
    ) -> Result<CaRecord, AuthorityError> {
        let ttl = match tier {
            Tier::Root => self.settings.root_ttl,
            Tier::Issuing => self.settings.issuing_ttl,
        };
        let subject = Subject::ca(tier, key.key_id(), self.trust_domain(), ttl);
        let slot = self.log.reserve()?;
        let linted = issue::prepare(&subject, key.spki(), slot, issuer, now)?;
        let logged = self.log.append(linted).await?;
        let signed = sign(logged, issuer_key.as_ref())?;
        let certificate = signed.certificate.to_vec();
        self.store.complete(signed.row.index, certificate).await?;
        Ok(CaRecord {
            key_id: key.key_id().to_owned(),
            tier,
            serial: signed.row.serial,
            issued_by: issuer.key_id.clone(),
            issued_at: signed.row.issued_at,
            not_before: not_before(subject.profile, now, issuer),
            not_after: signed.row.not_after,
            certificate: signed.certificate,
        })
    }

    /// Stores the new CAs, then shows them; destroys keys that may not sign any more.
    pub(super) async fn replace(
        &self,
        mut next: Cas,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<(), AuthorityError> {
        let mut writes = next.authorities.changes_since(&self.cas().authorities);
        let fresh = bundle::of(self.trust_domain(), &next.authorities)
            .map_err(|error| AuthorityError::Unavailable(error.to_string()))?;
        let present = self.bundle.load_full();
        let is_new_bundle = present
            .as_ref()
            .is_none_or(|present| present.0.version() != fresh.version());
        let sequence = present.map_or(0, |present| present.1) + u64::from(is_new_bundle);
        writes.push(Write::put(Kind::Meta, BUNDLE_SEQUENCE, &sequence));
        let seq = self.store.commit(writes, Vec::new()).await?;
        let idle = next.idle_keys();
        next.keys.retain(|key_id, _| !idle.contains(key_id));
        {
            let mut cas = self.cas.write().unwrap_or_else(PoisonError::into_inner);
            let noted = cas.authorities.slots().clone();
            next.authorities.slots_mut().absorb_leaves(&noted);
            *cas = next;
        }
        if is_new_bundle {
            self.bundle
                .store(Some(Arc::new((Arc::new(fresh), sequence))));
        }
        self.announce(seq, changes);
        idle.iter().for_each(|key_id| self.destroy(key_id));
        Ok(())
    }

    /// A key that no certificate was made for: it would lie there for ever.
    fn give_up(&self, key: &Arc<dyn CaKey>) {
        self.destroy(key.key_id());
    }

    /// A key that is not destroyed can sign nothing here, so what was done stays done.
    fn destroy(&self, key_id: &str) {
        if let Err(error) = self.keys.destroy(key_id) {
            error!(key_id, %error, "a key that may not sign was not destroyed");
        }
    }
}

fn no_root() -> AuthorityError {
    AuthorityError::Unavailable("the active root's key is not there".to_owned())
}
