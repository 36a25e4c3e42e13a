//! The waivers that are kept, by the name of their consumer.

use std::collections::BTreeMap;

use countersign_refusal::Denied;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Most waivers at a time: beyond it nodes are the matter, and `node evict` is for those.
const MAX_WAIVERS: usize = 1_024;

/// What is kept of a waiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Key identifier of the root that may sign without the consumer.
    pub root: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// Every waiver, by the name of its consumer.
#[derive(Debug, Default)]
pub(crate) struct Waivers(BTreeMap<String, Waiver>);

impl Waivers {
    pub(crate) fn insert(&mut self, consumer: String, waiver: Waiver) {
        self.0.insert(consumer, waiver);
    }

    pub(crate) fn remove(&mut self, consumer: &str) {
        self.0.remove(consumer);
    }

    /// Those for a root.
    pub(crate) fn of_root(&self, root: &str) -> impl Iterator<Item = (&String, &Waiver)> {
        let root = root.to_owned();
        self.0.iter().filter(move |(_, waiver)| waiver.root == root)
    }

    /// Every one.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Waiver)> {
        self.0.iter()
    }

    /// Those that count no more: expired, or for a root that is not the pending one.
    pub(crate) fn over(&self, pending: Option<&str>, now: Timestamp) -> Vec<String> {
        let is_over = |waiver: &Waiver| waiver.until <= now || Some(&*waiver.root) != pending;
        let over = self.0.iter().filter(|(_, waiver)| is_over(waiver));
        over.map(|(consumer, _)| consumer.clone()).collect()
    }

    pub(crate) fn check_room(&self, consumers: &[String]) -> Result<(), Denied> {
        let new = consumers.iter().filter(|it| !self.0.contains_key(*it));
        if self.0.len() + new.count() <= MAX_WAIVERS {
            return Ok(());
        }
        Err(Denied {
            code: "too_many_waivers",
            message: format!("at most {MAX_WAIVERS} consumers are waived at a time"),
            remedy: "evict the nodes that do not acknowledge, with `countersign node evict`",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waivers_have_a_bound() {
        let mut waivers = Waivers::default();
        let waiver = Waiver {
            root: "root".to_owned(),
            reason: "dead".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
        };
        for number in 0..MAX_WAIVERS {
            let name = number.to_string();
            assert!(waivers.check_room(std::slice::from_ref(&name)).is_ok());
            waivers.insert(name, waiver.clone());
        }
        assert!(waivers.check_room(&["0".to_owned()]).is_ok(), "it has one");
        let refused = waivers.check_room(&["one more".to_owned()]).unwrap_err();
        assert_eq!(refused.code, "too_many_waivers");
    }
}
