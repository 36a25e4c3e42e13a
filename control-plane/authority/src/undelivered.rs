//! Certificates that the log holds and nobody was given: they are void.
//!
//! The right to a certificate may end between its entry and its publication, and a key may fail to
//! sign it. Memory forgets such a certificate at once; in the log a `voided` entry says so, now or
//! as soon as the log takes one again. Its key stays with the identity that it was claimed for, so
//! that no two entries ever name two identities for it: the same may be certified again at once,
//! another only when the void certificate would have ended.

use std::collections::BTreeMap;

use countersign_inventory::Void;
use countersign_issue::issuance::Issuance;
use countersign_issue::key::key_id_of;
use countersign_model::EntitlementId;
use countersign_model::tables::FirstEnd;
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;

use super::Authority;
use super::key_uses::KeyUse;
use super::key_uses::shares::{KeyTable, Shares};

/// Most void certificates that are remembered; beyond it the oldest is forgotten.
const MAX_VOIDS: usize = 65_536;

/// A certificate that nobody will be given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Undelivered {
    index: u64,
    end: Timestamp,
    spki_sha256: [u8; 32],
}

impl Undelivered {
    pub(super) fn of(issuance: &Issuance) -> Self {
        Self {
            index: issuance.serial.index(),
            end: issuance.not_after,
            spki_sha256: issuance.spki_sha256,
        }
    }

    /// One that was written down.
    pub(super) fn found(void: &Void) -> Self {
        Self {
            index: void.index,
            end: void.not_after,
            spki_sha256: void.spki_sha256,
        }
    }

    pub(super) fn spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }
}

impl Authority {
    /// Nobody will be given this certificate: it is void here at once, and in the log by an entry.
    pub(super) async fn void_undelivered(&self, undelivered: Undelivered, now: Timestamp) {
        let Undelivered { index, .. } = undelivered;
        // First, so that nothing that is written down meanwhile speaks for this entry.
        self.unvoided().indexes.insert(index);
        self.write().keys.undelivered(&undelivered);
        let principal = Principal::part("undelivered certificates");
        peer_line!(
            INFO,
            principal,
            index,
            "a certificate that nobody was given is void"
        );
        self.void(&[index], now).await;
    }

    /// Whether nobody was given the certificate at a log index, as far as is remembered.
    pub(super) fn is_void(&self, index: u64) -> bool {
        self.read().keys.is_void(index)
    }

    /// A certificate that is void was found in the log.
    pub(super) fn restore_void(&self, issuance: &Issuance, now: Timestamp) {
        if issuance.not_after >= now {
            let undelivered = Undelivered::of(issuance);
            // Nobody claims the key of a CA or of the listener.
            let is_claimed = EntitlementId::parse(&issuance.entitlement).is_some();
            let used = is_claimed.then(|| KeyUse::of(issuance));
            self.write().keys.found_void(&undelivered, used);
        }
    }

    /// Void certificates that were written down, for the log is not read from so far back: those of
    /// CAs. A key that was claimed for another is found in the log.
    pub(super) fn restore_voids(&self, voids: &[Void], now: Timestamp) {
        let mut state = self.write();
        let live = voids.iter().filter(|void| void.not_after >= now);
        live.for_each(|void| state.keys.found_void(&Undelivered::found(void), None));
    }

    /// A crash came between the certificate of a CA and the commit that makes it one, or the
    /// certificate is void and its key was perhaps not destroyed: it may lie in any store, and
    /// nothing else will ever name it. One that is not there is destroyed already.
    pub(super) fn destroy_unfinished(&self, issuance: &Issuance) {
        let key_id = key_id_of(&issuance.spki_sha256);
        if self.knows_ca(&key_id) {
            return;
        }
        for (store, _) in self.keys.conditions() {
            self.destroy_when_ready(store, &key_id, Some(issuance.serial.index()));
        }
    }
}

/// The void certificates that would still be valid, and the keys of those that are no CA's.
#[derive(Debug, Default)]
pub(super) struct Voids {
    /// By log index: the end, and the key where it was claimed.
    certificates: BTreeMap<u64, (Timestamp, [u8; 32])>,
    keys: KeyTable,
    first_end: FirstEnd,
}

impl Voids {
    /// Remembers a certificate, and for whom its key was claimed: it counts in that holder's share.
    pub(super) fn note(
        &mut self,
        undelivered: &Undelivered,
        used: Option<KeyUse>,
        shares: &mut Shares,
    ) {
        let Undelivered {
            index,
            end,
            spki_sha256,
        } = *undelivered;
        self.first_end.note(end);
        self.certificates.insert(index, (end, spki_sha256));
        if let Some(used) = used {
            self.note_key(spki_sha256, used.with(index, end), shares);
        }
        if self.certificates.len() > MAX_VOIDS
            && let Some((index, (_, oldest))) = self.certificates.pop_first()
        {
            self.forget_key(index, &oldest, shares);
        }
    }

    /// A key that is void twice stays so for the longer of both: the second life may be shorter.
    fn note_key(&mut self, spki_sha256: [u8; 32], used: KeyUse, shares: &mut Shares) {
        let end = |used: &KeyUse| used.issued().map(|(_, end)| end);
        let held = self.keys.get(&spki_sha256).and_then(end);
        if held <= end(&used) {
            self.keys.insert(spki_sha256, used, shares);
        }
    }

    /// What a key was claimed for, while its void certificate would be valid.
    pub(super) fn of_key(&self, spki_sha256: &[u8; 32], now: Timestamp) -> Option<&KeyUse> {
        let used = self.keys.get(spki_sha256)?;
        let is_over = used.issued().is_none_or(|(_, end)| end <= now);
        (!is_over).then_some(used)
    }

    /// Whether the certificate at a log index is void.
    pub(super) fn contains(&self, index: u64) -> bool {
        self.certificates.contains_key(&index)
    }

    /// Those below a log index.
    pub(super) fn below(&self, index: u64) -> Vec<Void> {
        let below = self.certificates.range(..index);
        let void = |(index, (end, spki_sha256)): (&u64, &(Timestamp, [u8; 32]))| Void {
            index: *index,
            not_after: *end,
            spki_sha256: *spki_sha256,
        };
        below.map(void).collect()
    }

    /// The lowest log index of one that would be valid and whose key was claimed. A CA's would
    /// have every start read the log of years.
    pub(super) fn oldest_live(&self, now: Timestamp) -> Option<u64> {
        let claimed = self.keys.values().filter_map(KeyUse::issued);
        let live = claimed.filter(|(_, end)| *end >= now);
        live.map(|(index, _)| index).min()
    }

    /// What the keys of void certificates were claimed for.
    #[cfg(test)]
    pub(super) fn claimed(&self) -> impl Iterator<Item = &KeyUse> {
        self.keys.values()
    }

    pub(super) fn forget_expired(&mut self, now: Timestamp, shares: &mut Shares) {
        if !self.first_end.is_before(now) {
            return;
        }
        self.certificates.retain(|_, (end, _)| *end >= now);
        let is_left = |used: &KeyUse| used.issued().is_some_and(|(_, end)| end >= now);
        self.keys.retain(is_left, shares);
        let left = self.certificates.values().map(|(end, _)| *end);
        self.first_end.follow(left);
    }

    /// A key that was void twice is kept for the one that ends later.
    fn forget_key(&mut self, index: u64, spki_sha256: &[u8; 32], shares: &mut Shares) {
        let held = self.keys.get(spki_sha256).and_then(KeyUse::issued);
        if held.is_some_and(|(held, _)| held == index) {
            self.keys.remove(spki_sha256, shares);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key_uses::tests::issuance;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn noted(voids: &mut Voids, shares: &mut Shares, index: u64) {
        let issuance = issuance(index, 60);
        voids.note(
            &Undelivered::of(&issuance),
            Some(KeyUse::of(&issuance)),
            shares,
        );
    }

    #[test]
    fn voids_beyond_the_bound_are_forgotten() {
        let (mut voids, mut shares) = (Voids::default(), Shares::default());
        (0..MAX_VOIDS as u64 + 10).for_each(|index| noted(&mut voids, &mut shares, index));
        assert_eq!(voids.certificates.len(), MAX_VOIDS);
        assert_eq!(voids.keys.len(), MAX_VOIDS);
        assert!(!voids.contains(9) && voids.contains(10));
        let counted: Vec<_> = shares.held().values().copied().collect();
        assert_eq!(counted, [65_536], "what is forgotten takes no share");
    }

    #[test]
    fn void_ends_with_its_certificate() {
        let (mut voids, mut shares) = (Voids::default(), Shares::default());
        noted(&mut voids, &mut shares, 0);
        assert_eq!(voids.oldest_live(at(60)), Some(0));
        assert!(voids.of_key(&[0; 32], at(59)).is_some());
        assert!(voids.of_key(&[0; 32], at(60)).is_none());
        voids.forget_expired(at(61), &mut shares);
        assert!(!voids.contains(0) && voids.keys.len() == 0);
        assert!(shares.held().is_empty());
    }

    #[test]
    fn key_void_twice_stays_for_the_longer() {
        let (mut voids, mut shares) = (Voids::default(), Shares::default());
        noted(&mut voids, &mut shares, 0);
        let shorter = Issuance {
            spki_sha256: [0; 32],
            ..issuance(1, 30)
        };
        voids.note(
            &Undelivered::of(&shorter),
            Some(KeyUse::of(&shorter)),
            &mut shares,
        );
        voids.forget_expired(at(31), &mut shares);
        assert!(!voids.contains(1) && voids.of_key(&[0; 32], at(59)).is_some());
        assert_eq!(voids.oldest_live(at(31)), Some(0), "a start finds it again");
        let longer = Issuance {
            spki_sha256: [0; 32],
            ..issuance(2, 90)
        };
        voids.note(
            &Undelivered::of(&longer),
            Some(KeyUse::of(&longer)),
            &mut shares,
        );
        assert!(voids.of_key(&[0; 32], at(89)).is_some());
    }
}
