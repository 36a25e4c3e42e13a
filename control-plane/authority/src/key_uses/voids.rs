//! Void certificates that would still be valid, and the holders of their keys.

use std::collections::BTreeMap;

use countersign_inventory::Void;
use countersign_issue::issuance::Issuance;
use countersign_model::Coordinate;
use countersign_model::tables::FirstEnd;
use jiff::Timestamp;

use super::key_use::KeyUse;
use super::shares::{KeyTable, Shares};

/// A certificate that the log holds and that nobody will be given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undelivered {
    entry: Coordinate,
    /// NotAfter.
    end: Timestamp,
    spki_sha256: [u8; 32],
}

impl Undelivered {
    pub(crate) fn of(issuance: &Issuance) -> Self {
        Self {
            entry: issuance.serial.coordinate(),
            end: issuance.not_after,
            spki_sha256: issuance.spki_sha256,
        }
    }

    /// One that the file of the inventory names.
    pub(crate) fn found(void: &Void) -> Self {
        Self {
            entry: void.entry,
            end: void.not_after,
            spki_sha256: void.spki_sha256,
        }
    }

    /// Its entry.
    pub(crate) fn entry(&self) -> Coordinate {
        self.entry
    }

    /// The key that it certifies.
    pub(super) fn spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }
}

/// Most void certificates that are remembered: beyond it the oldest is forgotten.
const MAX_VOIDS: usize = 65_536;

/// Void certificates that would still be valid, and their claimed keys: those of CAs and of the
/// listener are claimed by nobody.
#[derive(Debug, Default)]
pub(super) struct Voids {
    /// By entry: NotAfter, and SHA-256 of the key.
    certificates: BTreeMap<Coordinate, (Timestamp, [u8; 32])>,
    keys: KeyTable,
    first_end: FirstEnd,
}

impl Voids {
    /// Remembers a certificate, and the use of its key where that was claimed: the key counts in the
    /// share of its holder.
    pub(super) fn note(
        &mut self,
        undelivered: &Undelivered,
        used: Option<KeyUse>,
        shares: &mut Shares,
    ) {
        let Undelivered {
            entry,
            end,
            spki_sha256,
        } = *undelivered;
        self.first_end.note(end);
        self.certificates.insert(entry, (end, spki_sha256));
        if let Some(used) = used {
            self.note_key(spki_sha256, used.with(entry, end), shares);
        }
        if self.certificates.len() > MAX_VOIDS
            && let Some((entry, (_, oldest))) = self.certificates.pop_first()
        {
            self.forget_key(entry, &oldest, shares);
        }
    }

    /// The key of two void certificates stays taken until the later end: the second lifetime may be
    /// shorter.
    fn note_key(&mut self, spki_sha256: [u8; 32], used: KeyUse, shares: &mut Shares) {
        let held = self.keys.get(&spki_sha256).and_then(KeyUse::end);
        if held <= used.end() {
            self.keys.insert(spki_sha256, used, shares);
        }
    }

    /// The use of a key, while its void certificate would be valid.
    pub(super) fn of_key(&self, spki_sha256: &[u8; 32], now: Timestamp) -> Option<&KeyUse> {
        let used = self.keys.get(spki_sha256)?;
        let is_over = used.end().is_none_or(|end| end <= now);
        (!is_over).then_some(used)
    }

    /// Whether the certificate of an entry is void.
    pub(super) fn contains(&self, entry: Coordinate) -> bool {
        self.certificates.contains_key(&entry)
    }

    /// Void certificates below an index of their log.
    pub(super) fn below(&self, index: u64) -> Vec<Void> {
        let all = self.certificates.iter();
        let below = all.filter(|(entry, _)| entry.index() < index);
        let void = |(entry, (end, spki_sha256)): (&Coordinate, &(Timestamp, [u8; 32]))| Void {
            entry: *entry,
            not_after: *end,
            spki_sha256: *spki_sha256,
        };
        below.map(void).collect()
    }

    /// The entries of void certificates that would be valid and whose keys were claimed. Those of CAs
    /// are left out: with them every start would read the log of years.
    pub(super) fn live(&self, now: Timestamp) -> impl Iterator<Item = Coordinate> {
        let claimed = self.keys.values();
        let live = claimed.filter(move |used| used.end().is_some_and(|end| end >= now));
        live.filter_map(KeyUse::entry)
    }

    /// The uses of the keys of void certificates.
    #[cfg(test)]
    pub(super) fn claimed(&self) -> impl Iterator<Item = &KeyUse> {
        self.keys.values()
    }

    pub(super) fn forget_expired(&mut self, now: Timestamp, shares: &mut Shares) {
        if !self.first_end.is_before(now) {
            return;
        }
        self.certificates.retain(|_, (end, _)| *end >= now);
        let is_left = |used: &KeyUse| used.end().is_some_and(|end| end >= now);
        self.keys.retain(is_left, shares);
        let left = self.certificates.values().map(|(end, _)| *end);
        self.first_end.follow(left);
    }

    /// Forgets the key of a certificate, unless another void certificate keeps it.
    fn forget_key(&mut self, entry: Coordinate, spki_sha256: &[u8; 32], shares: &mut Shares) {
        let held = self.keys.get(spki_sha256).and_then(KeyUse::entry);
        if held == Some(entry) {
            self.keys.remove(spki_sha256, shares);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, issuance};
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
        assert!(!voids.contains(entry(9)) && voids.contains(entry(10)));
        let counted: Vec<_> = shares.held().values().copied().collect();
        assert_eq!(counted, [65_536], "what is forgotten takes no share");
    }

    #[test]
    fn void_ends_with_its_certificate() {
        let (mut voids, mut shares) = (Voids::default(), Shares::default());
        noted(&mut voids, &mut shares, 0);
        assert_eq!(voids.live(at(60)).min(), Some(entry(0)));
        assert!(voids.of_key(&[0; 32], at(59)).is_some());
        assert!(voids.of_key(&[0; 32], at(60)).is_none());
        voids.forget_expired(at(61), &mut shares);
        assert!(!voids.contains(entry(0)) && voids.keys.len() == 0);
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
        assert!(!voids.contains(entry(1)) && voids.of_key(&[0; 32], at(59)).is_some());
        assert_eq!(
            voids.live(at(31)).min(),
            Some(entry(0)),
            "a start finds it again"
        );
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
