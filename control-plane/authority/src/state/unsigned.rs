//! Certificates that other replicas logged, until their signatures come.

use std::collections::{BTreeMap, HashMap, VecDeque};

use countersign_ca::log::Logged;
use countersign_model::Coordinate;
use jiff::Timestamp;

/// Most certificates that wait for their signatures: those that are made at a moment, and those that
/// nobody was given. Beyond it the oldest is forgotten: its holder may have its key certified again.
const MAX_UNSIGNED: usize = 8_192;

/// Certificates whose entries came and whose signatures did not.
#[derive(Debug, Default)]
pub(crate) struct Unsigned {
    waiting: HashMap<Coordinate, Logged>,
    /// In the order in which they came; those that are gone are in it too, until they are the oldest.
    order: VecDeque<Coordinate>,
}

impl Unsigned {
    /// Keeps a certificate until its signature comes.
    pub(crate) fn keep(&mut self, logged: Logged) {
        let entry = logged.issuance().serial.coordinate();
        self.waiting.insert(entry, logged);
        self.order.push_back(entry);
        while self.order.len() > MAX_UNSIGNED {
            if let Some(oldest) = self.order.pop_front() {
                self.waiting.remove(&oldest);
            }
        }
    }

    /// By log, the lowest index of one that has not ended.
    pub(crate) fn oldest(&self, now: Timestamp) -> BTreeMap<u32, u64> {
        let mut oldest = BTreeMap::new();
        for (entry, logged) in &self.waiting {
            if logged.issuance().not_after >= now {
                let lowest = oldest.entry(entry.log_id()).or_insert(u64::MAX);
                *lowest = entry.index().min(*lowest);
            }
        }
        oldest
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The certificate of an entry: its signature came, or it is void.
    pub(crate) fn take(&mut self, entry: Coordinate) -> Option<Logged> {
        let logged = self.waiting.remove(&entry);
        while let Some(oldest) = self.order.front()
            && !self.waiting.contains_key(oldest)
        {
            self.order.pop_front();
        }
        logged
    }
}

#[cfg(test)]
mod tests {
    use countersign_issue::issuance::Issuance;

    use super::*;
    use crate::key_uses::tests::{entry, issuance};

    fn logged(index: u64) -> Logged {
        let issuance: Issuance = issuance(index, 60);
        Logged::for_test(issuance)
    }

    #[test]
    fn unsigned_certificates_are_bounded() {
        let mut unsigned = Unsigned::default();
        (0..MAX_UNSIGNED as u64 + 1).for_each(|index| unsigned.keep(logged(index)));
        assert!(unsigned.take(entry(0)).is_none(), "the oldest");
        assert!(unsigned.take(entry(1)).is_some() && unsigned.take(entry(1)).is_none());
        assert_eq!(unsigned.waiting.len(), MAX_UNSIGNED - 1);
        (2..MAX_UNSIGNED as u64 + 1).for_each(|index| drop(unsigned.take(entry(index))));
        assert!(unsigned.order.is_empty(), "what is gone takes no room");
    }
}
