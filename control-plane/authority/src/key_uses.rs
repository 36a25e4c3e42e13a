//! Keys in use: one key is certified for one entitlement of one node, or for one identity that an
//! operator has signed, while a certificate for it is valid.
//!
//! There is an entry for every valid certificate, not for every lineage: issuance rate times
//! lifetime. So an entry is small, and the table gives memory back. The table has a bound, so that
//! no rate of issuance fills the memory: beyond it no key is taken. Each holder has a share of the
//! table, so that no holder takes it all. The key of a void certificate stays with its holder until
//! that certificate would have ended.

mod claims;
mod key_use;
mod shares;
mod voids;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use countersign_inventory::Void;
use countersign_issue::issuance::Issuance;
use countersign_model::tables::FirstEnd;
use countersign_model::{Coordinate, EntitlementId, SpiffeId};
use countersign_refusal::Denied;
use countersign_registry::Authorized;
use jiff::Timestamp;

use super::AuthorityError;
use shares::{HolderId, KeyTable, Shares};
use voids::Voids;

pub(super) use claims::Claims;
pub(super) use key_use::KeyUse;
pub(super) use voids::Undelivered;

/// Most keys that are certified or being certified at once: 36 for each of 100,000 lineages. The
/// hash table that holds so many has 2^22 places of 65 bytes, 273 MB.
const MAX_KEYS: usize = 3_600_000;

/// Every key that is certified or being certified, by SHA-256 of its SubjectPublicKeyInfo.
#[derive(Debug)]
pub(super) struct Keys {
    uses: KeyTable,
    /// See [`MAX_KEYS`].
    most: usize,
    /// Holders of keys that have a certificate and get another one now. Each is an issuance that
    /// runs, so there are as many as may run at a time.
    renewing: HashMap<[u8; 32], HolderId>,
    first_end: FirstEnd,
    voids: Voids,
    /// Live and voided keys per holder.
    shares: Shares,
    claims: Arc<Claims>,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            uses: KeyTable::default(),
            most: MAX_KEYS,
            renewing: HashMap::new(),
            first_end: FirstEnd::default(),
            voids: Voids::default(),
            shares: Shares::default(),
            claims: Arc::default(),
        }
    }
}

impl Keys {
    /// Whoever logs certificates for claimed keys tells it here.
    pub(super) fn claims(&mut self, claims: &Arc<Claims>) {
        self.claims = Arc::clone(claims);
    }

    /// Claims a key for what was authorized. A key that its holder has a certificate for is not
    /// claimed: the answer is the entry of that certificate.
    ///
    /// # Errors
    /// The key is another's, or there is no room for one more.
    pub(super) fn claim(
        &mut self,
        spki_sha256: [u8; 32],
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<Option<Coordinate>, AuthorityError> {
        self.claim_for(spki_sha256, holder_of(authorized), now)
    }

    /// Claims a key that its holder has a certificate for, for another one. The key keeps its place
    /// in the table.
    ///
    /// # Errors
    /// The certificate ended meanwhile, and the key is another's.
    pub(super) fn renew(
        &mut self,
        spki_sha256: [u8; 32],
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<(), Denied> {
        self.renew_for(spki_sha256, holder_of(authorized), now)
    }

    fn renew_for(
        &mut self,
        spki_sha256: [u8; 32],
        holder: HolderId,
        now: Timestamp,
    ) -> Result<(), Denied> {
        self.check_bound(&spki_sha256, holder, now)?;
        self.renewing.insert(spki_sha256, holder);
        Ok(())
    }

    fn claim_for(
        &mut self,
        spki_sha256: [u8; 32],
        holder: HolderId,
        now: Timestamp,
    ) -> Result<Option<Coordinate>, AuthorityError> {
        let found = self.uses.get(&spki_sha256).copied();
        let live = found.filter(|used| used.is_live(now));
        self.check_bound(&spki_sha256, holder, now)?;
        if let Some(used) = live {
            return Ok(used.entry());
        }
        // A key whose certificate has ended keeps its place in the table: only a new one needs room.
        if found.is_none() {
            self.check_all()?;
        }
        if found.is_none_or(|ended| ended.holder() != holder) {
            self.shares.check(&holder)?;
        }
        let claimed = KeyUse::claimed(holder);
        self.uses.insert(spki_sha256, claimed, &mut self.shares);
        self.claims.begin(spki_sha256);
        Ok(None)
    }

    /// Whether a key is free for a holder.
    ///
    /// # Errors
    /// A valid or void certificate, or one that is being made, names another holder for it.
    pub(super) fn check_holder(
        &self,
        spki_sha256: &[u8; 32],
        node: &SpiffeId,
        entitlement: &EntitlementId,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let holder = HolderId::of(node.as_str(), entitlement.as_str());
        Ok(self.check_bound(spki_sha256, holder, now)?)
    }

    fn check_bound(
        &self,
        spki_sha256: &[u8; 32],
        holder: HolderId,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let live = self.uses.get(spki_sha256).filter(|used| used.is_live(now));
        let bound = live.or_else(|| self.voids.of_key(spki_sha256, now));
        let holders = bound.map(KeyUse::holder).into_iter();
        let mut holders = holders.chain(self.renewing.get(spki_sha256).copied());
        if holders.any(|present| present != holder) {
            return Err(Denied {
                code: "key_in_use",
                message: "this key is certified for another identity or entitlement".to_owned(),
                remedy: "make a fresh key for every entitlement and every renewal",
            });
        }
        Ok(())
    }

    /// The entry of the certificate of a key, while it is valid.
    pub(super) fn certified_at(
        &self,
        spki_sha256: &[u8; 32],
        now: Timestamp,
    ) -> Option<Coordinate> {
        let used = self.uses.get(spki_sha256).filter(|used| used.is_live(now));
        used?.entry()
    }

    /// Whether there is room for one more key of an entitlement of a node. What a start finds in the
    /// log is taken in beyond the bounds as well.
    ///
    /// # Errors
    /// The table, or the share of this holder, is full.
    pub(super) fn check_room(
        &self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
    ) -> Result<(), AuthorityError> {
        self.check_all()?;
        let holder = HolderId::of(node.as_str(), entitlement.as_str());
        self.shares.check(&holder)
    }

    fn check_all(&self) -> Result<(), AuthorityError> {
        if self.uses.len() >= self.most {
            return Err(AuthorityError::TooManyKeys { most: self.most });
        }
        Ok(())
    }

    /// Number of keys that are certified or being certified.
    pub(super) fn len(&self) -> usize {
        self.uses.len()
    }

    /// Records the certificate of a key: a claim to it has come to its end.
    pub(super) fn issued(&mut self, issuance: &Issuance) {
        self.first_end.note(issuance.not_after);
        let mut used = KeyUse::of(issuance);
        self.renewing.remove(&issuance.spki_sha256);
        self.claims.end(&issuance.spki_sha256);
        // An earlier certificate for the same key may end later, where the lifetime was made
        // shorter since.
        let before = self.uses.get(&issuance.spki_sha256);
        used.keep_end_of(before);
        self.uses
            .insert(issuance.spki_sha256, used, &mut self.shares);
    }

    /// Records a certificate that was found in a log, and says whether its key is its holder's. A key that
    /// has a certificate for another holder keeps that: it was logged first, also where it is not given yet,
    /// and whoever logged this one knows it, and gives it to nobody.
    pub(super) fn found(&mut self, issuance: &Issuance) -> bool {
        let holder = KeyUse::of(issuance).holder();
        let present = self.uses.get(&issuance.spki_sha256);
        let is_anothers = present.is_some_and(|used| {
            let is_logged = !used.is_claimed() || self.claims.is_logged(&issuance.spki_sha256);
            used.holder() != holder && is_logged && used.is_live(issuance.issued_at)
        });
        if !is_anothers {
            self.issued(issuance);
        }
        !is_anothers
    }

    /// Whether a key whose certificate is in the log is still its holder's: another control plane may
    /// have logged one for another holder before.
    ///
    /// # Errors
    /// It is another's.
    pub(super) fn check_right(
        &self,
        spki_sha256: &[u8; 32],
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<(), Denied> {
        self.check_bound(spki_sha256, holder_of(authorized), now)
    }

    /// Releases a claimed key, and says what it was claimed for. A key that was not claimed, or was
    /// certified since, stays as it is.
    pub(super) fn release(&mut self, spki_sha256: &[u8; 32]) -> Option<KeyUse> {
        if let Some(holder) = self.renewing.remove(spki_sha256) {
            return Some(KeyUse::claimed(holder));
        }
        let claimed = self.uses.get(spki_sha256);
        if claimed.is_some_and(KeyUse::is_claimed) {
            self.claims.end(spki_sha256);
            return self.uses.remove(spki_sha256, &mut self.shares);
        }
        None
    }

    /// Records a certificate that nobody will be given. The claim to its key has come to its end, and
    /// the key stays with its holder.
    pub(super) fn undelivered(&mut self, undelivered: &Undelivered) {
        let claimed = self.release(undelivered.spki_sha256());
        self.voids.note(undelivered, claimed, &mut self.shares);
    }

    /// Records a void certificate that was found in the log, and the use of its key where that was
    /// claimed.
    pub(super) fn found_void(&mut self, undelivered: &Undelivered, used: Option<KeyUse>) {
        self.voids.note(undelivered, used, &mut self.shares);
    }

    /// Whether the certificate of an entry is void, as long as it would be valid.
    pub(super) fn is_void(&self, entry: Coordinate) -> bool {
        self.voids.contains(entry)
    }

    /// The void certificates below an index of their log.
    pub(super) fn voids_below(&self, index: u64) -> Vec<Void> {
        self.voids.below(index)
    }

    /// Whether a certificate is being issued.
    pub(super) fn is_issuing(&self) -> bool {
        !self.renewing.is_empty() || self.uses.values().any(KeyUse::is_claimed)
    }

    /// By log, the lowest index of a certificate that is valid, or would be if it were not void.
    pub(super) fn oldest_live(&self, now: Timestamp) -> BTreeMap<u32, u64> {
        let live = self.uses.values();
        let live = live.filter(|used| used.end().is_some_and(|end| end >= now));
        let entries = live.filter_map(KeyUse::entry).chain(self.voids.live(now));
        let mut oldest = BTreeMap::new();
        for entry in entries {
            let lowest = oldest.entry(entry.log_id()).or_insert(u64::MAX);
            *lowest = entry.index().min(*lowest);
        }
        oldest
    }

    /// Forgets keys whose certificates, valid or void, have ended.
    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        self.voids.forget_expired(now, &mut self.shares);
        if self.first_end.is_before(now) {
            let is_left = |used: &KeyUse| used.end().is_none_or(|end| end >= now);
            self.uses.retain(is_left, &mut self.shares);
            let left = self.uses.values().filter_map(KeyUse::end);
            self.first_end.follow(left);
        }
        self.shares.give_back();
    }

    /// Takes another bound than [`MAX_KEYS`].
    #[cfg(test)]
    pub(super) fn take_at_most(&mut self, most: usize) {
        self.most = most;
    }

    /// Takes another bound of one holder's keys.
    #[cfg(test)]
    pub(super) fn take_of_one_at_most(&mut self, most: u32) {
        self.shares.take_at_most(most);
    }

    /// Keys per holder, as counted and as a look at every key finds.
    #[cfg(test)]
    pub(super) fn shares(&self) -> [HashMap<HolderId, u32>; 2] {
        let mut found = HashMap::new();
        for used in self.uses.values().chain(self.voids.claimed()) {
            *found.entry(used.holder()).or_default() += 1;
        }
        [self.shares.held().clone(), found]
    }

    /// Number of keys, and of places in the table.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.uses.len(), self.uses.capacity())
    }
}

fn holder_of(authorized: &Authorized) -> HolderId {
    let node = authorized.node().map_or("", |node| node.as_str());
    HolderId::of(node, authorized.entitlement().as_str())
}

#[cfg(test)]
pub(crate) mod tests;
