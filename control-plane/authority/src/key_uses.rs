//! Which key is certified for what, while a certificate for it is valid: one key, one entitlement
//! of one node.
//!
//! There is an entry for every certificate that is valid, not for every lineage: rate times
//! lifetime of them. So an entry is small, and the table gives back what it no longer needs. It has
//! a bound as well, so that no rate fills the memory: beyond it no key is taken. Each holder has a
//! share of it, so that none takes it all.

pub(super) mod shares;

use std::collections::HashMap;
use std::num::NonZeroU64;

use countersign_inventory::Void;
use countersign_issue::issuance::Issuance;
use countersign_model::tables::FirstEnd;
use countersign_model::{EntitlementId, SpiffeId};
use countersign_refusal::Denied;
use countersign_registry::Authorized;
use jiff::Timestamp;

use super::AuthorityError;
use super::undelivered::{Undelivered, Voids};
use shares::{Holder, KeyTable, Shares};

/// Most keys that are certified or being certified at once: 36 for each of 100,000 lineages. The
/// hash table that holds so many has 2^22 places of 65 bytes, 273 MB.
const MAX_KEYS: usize = 3_600_000;

/// Every key that is certified or being certified, by SHA-256 of its SubjectPublicKeyInfo.
#[derive(Debug)]
pub(super) struct Keys {
    uses: KeyTable,
    /// See [`MAX_KEYS`].
    most: usize,
    /// Keys that are certified again while they have a certificate, and whose they are. Their
    /// enrolments run, so there are [`STRIPES`](super::issuing::STRIPES) at most.
    renewing: HashMap<[u8; 32], Holder>,
    first_end: FirstEnd,
    voids: Voids,
    /// How many keys each holder has, those of void certificates included.
    shares: Shares,
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
        }
    }
}

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyUse {
    holder: Holder,
    /// `None` while it is being issued.
    issued: Option<Issued>,
}

/// A certificate: where it is in the log and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Issued {
    /// How long the log is with its entry: the index and one.
    log_size: NonZeroU64,
    /// NotAfter, which has no parts of a second.
    end_second: i64,
}

impl KeyUse {
    /// Whose right a key is being certified for.
    fn claimed(holder: Holder) -> Self {
        Self {
            holder,
            issued: None,
        }
    }

    /// What a key was certified for.
    pub(super) fn of(issuance: &Issuance) -> Self {
        Self {
            holder: Holder::of(&issuance.node, &issuance.entitlement),
            issued: Some(Issued::new(issuance.serial.index(), issuance.not_after)),
        }
    }

    /// The same right, with the certificate that was made for it.
    pub(super) fn with(self, index: u64, end: Timestamp) -> Self {
        let issued = Some(Issued::new(index, end));
        Self { issued, ..self }
    }

    /// Whether it is being issued, or has not ended.
    fn is_live(&self, now: Timestamp) -> bool {
        self.issued.is_none_or(|issued| issued.end() > now)
    }

    /// Ends no earlier than what the same key was certified for before.
    fn keep_end_of(&mut self, before: Option<&Self>) {
        let before = before.and_then(|before| before.issued);
        if let (Some(issued), Some(before)) = (&mut self.issued, before) {
            issued.end_second = issued.end_second.max(before.end_second);
        }
    }

    /// Whose right it is.
    pub(super) fn holder(&self) -> Holder {
        self.holder
    }

    /// Index of its log entry and end of its certificate; `None` while it is being issued.
    pub(super) fn issued(&self) -> Option<(u64, Timestamp)> {
        self.issued.map(|issued| (issued.index(), issued.end()))
    }
}

impl Issued {
    fn new(index: u64, end: Timestamp) -> Self {
        Self {
            log_size: NonZeroU64::MIN.saturating_add(index),
            end_second: end.as_second(),
        }
    }

    fn index(&self) -> u64 {
        self.log_size.get() - 1
    }

    fn end(&self) -> Timestamp {
        Timestamp::from_second(self.end_second).expect("it was the second of a time")
    }
}

impl Keys {
    /// Claims a key for an authorized enrolment, or finds what it was enrolled for already.
    pub(super) fn claim(
        &mut self,
        spki_sha256: [u8; 32],
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<Option<u64>, AuthorityError> {
        self.claim_for(spki_sha256, holder_of(authorized), now)
    }

    /// Claims a key once more that its holder has a certificate for: it keeps its place.
    ///
    /// # Errors
    /// It ended meanwhile, and another has the key.
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
        holder: Holder,
        now: Timestamp,
    ) -> Result<(), Denied> {
        self.check_bound(&spki_sha256, holder, now)?;
        self.renewing.insert(spki_sha256, holder);
        Ok(())
    }

    fn claim_for(
        &mut self,
        spki_sha256: [u8; 32],
        holder: Holder,
        now: Timestamp,
    ) -> Result<Option<u64>, AuthorityError> {
        let found = self.uses.get(&spki_sha256).copied();
        let live = found.filter(|used| used.is_live(now));
        self.check_bound(&spki_sha256, holder, now)?;
        if let Some(used) = live {
            return Ok(used.issued.map(|issued| issued.index()));
        }
        // A key whose certificate has ended keeps its place in the table: only a new one needs room.
        if found.is_none() {
            self.check_all()?;
        }
        if found.is_none_or(|ended| ended.holder != holder) {
            self.shares.check(&holder)?;
        }
        let claimed = KeyUse::claimed(holder);
        self.uses.insert(spki_sha256, claimed, &mut self.shares);
        Ok(None)
    }

    /// Whether nobody but this holder has the use of a key.
    ///
    /// # Errors
    /// It is certified for another identity or entitlement, or was, in a certificate that is void.
    pub(super) fn check_holder(
        &self,
        spki_sha256: &[u8; 32],
        node: &SpiffeId,
        entitlement: &EntitlementId,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let holder = Holder::of(node.as_str(), entitlement.as_str());
        Ok(self.check_bound(spki_sha256, holder, now)?)
    }

    fn check_bound(
        &self,
        spki_sha256: &[u8; 32],
        holder: Holder,
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

    /// Log index of the certificate of a key, while it is valid.
    pub(super) fn certified_at(&self, spki_sha256: &[u8; 32], now: Timestamp) -> Option<u64> {
        let used = self.uses.get(spki_sha256).filter(|used| used.is_live(now));
        used?.issued.map(|issued| issued.index())
    }

    /// Whether one more key can be claimed for an entitlement of a node. What a start finds in the
    /// log is taken in anyway.
    ///
    /// # Errors
    /// As many are certified as are remembered at once, of all or of this holder.
    pub(super) fn check_room(
        &self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
    ) -> Result<(), AuthorityError> {
        self.check_all()?;
        let holder = Holder::of(node.as_str(), entitlement.as_str());
        self.shares.check(&holder)
    }

    fn check_all(&self) -> Result<(), AuthorityError> {
        if self.uses.len() >= self.most {
            return Err(AuthorityError::TooManyKeys { most: self.most });
        }
        Ok(())
    }

    /// How many keys are certified or being certified.
    pub(super) fn len(&self) -> usize {
        self.uses.len()
    }

    /// The certificate for a key was issued.
    pub(super) fn issued(&mut self, issuance: &Issuance) {
        self.first_end.note(issuance.not_after);
        let mut used = KeyUse::of(issuance);
        self.renewing.remove(&issuance.spki_sha256);
        // The certificate before it of the same key is valid as well, and may end later, where the
        // lifetime was made shorter since.
        let before = self.uses.get(&issuance.spki_sha256);
        used.keep_end_of(before);
        self.uses
            .insert(issuance.spki_sha256, used, &mut self.shares);
    }

    /// Gives up a claim that came to nothing, and says what it was for.
    pub(super) fn release(&mut self, spki_sha256: &[u8; 32]) -> Option<KeyUse> {
        if let Some(holder) = self.renewing.remove(spki_sha256) {
            return Some(KeyUse::claimed(holder));
        }
        let claimed = self.uses.get(spki_sha256);
        if claimed.is_some_and(|used| used.issued.is_none()) {
            return self.uses.remove(spki_sha256, &mut self.shares);
        }
        None
    }

    /// The certificate for a claimed key will be given to nobody.
    pub(super) fn undelivered(&mut self, undelivered: &Undelivered) {
        let claimed = self.release(undelivered.spki_sha256());
        self.voids.note(undelivered, claimed, &mut self.shares);
    }

    /// A void certificate was found in the log, with what its key was claimed for.
    pub(super) fn found_void(&mut self, undelivered: &Undelivered, used: Option<KeyUse>) {
        self.voids.note(undelivered, used, &mut self.shares);
    }

    /// Whether the certificate at a log index is void, as long as it would be valid.
    pub(super) fn is_void(&self, index: u64) -> bool {
        self.voids.contains(index)
    }

    /// The void certificates below a log index.
    pub(super) fn voids_below(&self, index: u64) -> Vec<Void> {
        self.voids.below(index)
    }

    /// Whether a certificate is being issued.
    pub(super) fn is_issuing(&self) -> bool {
        !self.renewing.is_empty() || self.uses.values().any(|used| used.issued.is_none())
    }

    /// The lowest log index of a certificate that is valid, or would be if it were not void.
    pub(super) fn oldest_live(&self, now: Timestamp) -> Option<u64> {
        let live = self.uses.values().filter_map(|used| used.issued);
        live.filter(|issued| issued.end() >= now)
            .map(|issued| issued.index())
            .chain(self.voids.oldest_live(now))
            .min()
    }

    /// Forgets the keys whose certificates have ended, and what was void so long.
    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        self.voids.forget_expired(now, &mut self.shares);
        if self.first_end.is_before(now) {
            let is_left = |used: &KeyUse| used.issued.is_none_or(|issued| issued.end() >= now);
            self.uses.retain(is_left, &mut self.shares);
            let left = self.uses.values().filter_map(|used| used.issued);
            self.first_end.follow(left.map(|issued| issued.end()));
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

    /// How many keys each holder has, as counted and as a look at every key finds.
    #[cfg(test)]
    pub(super) fn shares(&self) -> [HashMap<Holder, u32>; 2] {
        let mut found = HashMap::new();
        for used in self.uses.values().chain(self.voids.claimed()) {
            *found.entry(used.holder()).or_default() += 1;
        }
        [self.shares.held().clone(), found]
    }

    /// How many keys are remembered, and for how many there is room.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.uses.len(), self.uses.capacity())
    }
}

fn holder_of(authorized: &Authorized) -> Holder {
    let node = authorized.node().map_or("", |node| node.as_str());
    Holder::of(node, authorized.entitlement().as_str())
}

#[cfg(test)]
pub(super) mod tests;
