//! What tells that the state was put back from a copy, kept in the store so that no restart forgets
//! it: the certificate that proves it, and the nodes that say so. A restore ends both, for it begins a
//! new epoch; the eviction of a node ends its word.

use std::collections::BTreeMap;

use countersign_model::{Serial, SpiffeId};
use countersign_restore::facts::DOUBTS;
use countersign_store::{Kind, Write};
use countersign_telemetry::{Principal, peer_line};
use serde::{Deserialize, Serialize};
use tracing::error;

use super::put_back::told;
use super::{Authority, AuthorityError};
use crate::series::Alarm;

/// Most nodes whose word is kept: more say the same, and are heard when these are evicted.
const MAX_WORDS: usize = 16;

/// What is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredDoubts {
    /// A certificate of ours that is not in our log.
    proof: Option<String>,
    /// Nodes that have seen a newer state, and its sequence.
    words: BTreeMap<String, u64>,
}

/// The same, and whether it is kept.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    proof: Option<Serial>,
    words: BTreeMap<String, u64>,
    /// How often it changed, and at which change it was stored.
    changed: u64,
    stored: u64,
}

impl Doubts {
    pub(super) fn restored(stored: StoredDoubts) -> Self {
        Self {
            proof: stored.proof.and_then(|serial| serial.parse().ok()),
            words: stored.words,
            ..Self::default()
        }
    }

    pub(super) fn proof(&self) -> Option<Serial> {
        self.proof
    }

    /// Takes a proof; whether it is the first.
    fn prove(&mut self, serial: Serial) -> bool {
        let is_first = self.proof.is_none();
        if is_first {
            self.proof = Some(serial);
            self.changed += 1;
        }
        is_first
    }

    /// Takes the word of a node; whether it is new.
    fn say(&mut self, node: &SpiffeId, seen: u64) -> bool {
        let has_room = self.words.len() < MAX_WORDS;
        match self.words.get_mut(node.as_str()) {
            Some(said) if *said < seen => *said = seen,
            None if has_room => {
                self.words.insert(node.as_str().to_owned(), seen);
                self.changed += 1;
                return true;
            }
            _ => return false,
        }
        self.changed += 1;
        false
    }

    fn withdraw(&mut self, node: &SpiffeId) {
        self.changed += u64::from(self.words.remove(node.as_str()).is_some());
    }

    /// What is to be stored, and as which change.
    fn unstored(&self) -> Option<(StoredDoubts, u64)> {
        let stored = StoredDoubts {
            proof: self.proof.map(|serial| serial.to_string()),
            words: self.words.clone(),
        };
        (self.stored < self.changed).then_some((stored, self.changed))
    }
}

impl Authority {
    /// Somebody has shown a certificate of ours that is not in our log.
    pub(super) fn proved_put_back(&self, serial: Serial) {
        if self.state.write().doubts.prove(serial) {
            self.metrics.alarm(Alarm::StatePutBack);
            let reason = told(&serial);
            error!(%serial, reason, "alarm: the state is older than what it has issued");
        }
    }

    /// A node says that it has seen a newer state of this epoch: its word alone stops nothing.
    pub fn said_newer(&self, node: &SpiffeId, seen: u64) {
        let own = self.stamp().sequence;
        let principal = Principal::identity(node.as_str());
        if self.state.write().doubts.say(node, seen) {
            self.metrics.alarm(Alarm::NewerStateSeen);
            peer_line!(ERROR, principal, %node, seen, own, "alarm: a node says that it has seen a newer state");
        } else {
            peer_line!(WARN, principal, %node, seen, own, "a node says that it has seen a newer state");
        }
    }

    /// What is in doubt though nothing is stopped by it, for people.
    pub fn warnings(&self) -> Vec<String> {
        let clocks = self.clocks_differ(self.told_now());
        self.newer_state_seen().into_iter().chain(clocks).collect()
    }

    fn newer_state_seen(&self) -> Option<String> {
        let doubts = &self.state.read().doubts;
        let (node, seen) = doubts.words.first_key_value()?;
        let (own, others) = (self.stamp().sequence, doubts.words.len() - 1);
        let others = match others {
            0 => String::new(),
            more => format!(" and {more} more nodes"),
        };
        Some(format!(
            "newer_state_seen: {node}{others} saw this epoch at sequence {seen}, and it is at \
             {own}: data_dir was put back from a copy, and what was registered since is lost. They \
             take nothing from here before countersign restore begins a new epoch. Where the word of a \
             node is wrong, countersign node evict --node {node} ends it"
        ))
    }

    /// The word of a node that was evicted counts no more.
    pub(super) fn withdraw_word(&self, node: &SpiffeId) {
        self.state.write().doubts.withdraw(node);
    }

    /// Tells at a start what was known before it.
    pub(super) fn tell_doubts(&self) {
        if let Some(reason) = self.put_back() {
            self.metrics.alarm(Alarm::StatePutBack);
            error!(reason, "alarm: the state is older than what it has issued");
        }
        if let Some(reason) = self.newer_state_seen() {
            self.metrics.alarm(Alarm::NewerStateSeen);
            error!(reason, "alarm: nodes say that they have seen a newer state");
        }
    }

    /// Stores what is not stored yet; what fails is tried again with the next tick.
    pub(super) async fn keep_doubts(&self) -> Result<(), AuthorityError> {
        let Some((doubts, change)) = self.state.read().doubts.unstored() else {
            return Ok(());
        };
        let write = Write::put(Kind::Meta, self.facts.key(DOUBTS), &doubts);
        let seq = self.store.commit(vec![write], Vec::new()).await?;
        self.state.announce(seq, []);
        let present = &mut self.state.write().doubts;
        present.stored = present.stored.max(change);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: usize) -> SpiffeId {
        SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap()
    }

    #[test]
    fn words_of_nodes_are_bounded() {
        let mut doubts = Doubts::default();
        for n in 0..MAX_WORDS {
            assert!(doubts.say(&node(n), 7));
        }
        assert!(!doubts.say(&node(MAX_WORDS), 7));
        assert_eq!(doubts.words.len(), MAX_WORDS);
        doubts.withdraw(&node(0));
        assert!(doubts.say(&node(MAX_WORDS), 7), "heard when there is room");
    }

    #[test]
    fn what_did_not_change_is_stored_once() {
        let mut doubts = Doubts::default();
        assert!(doubts.unstored().is_none());
        doubts.say(&node(1), 7);
        let (_, change) = doubts.unstored().unwrap();
        doubts.stored = change;
        doubts.say(&node(1), 7);
        assert!(doubts.unstored().is_none(), "it says nothing new");
        assert!(!doubts.say(&node(1), 8), "the same node");
        assert_eq!(doubts.unstored().unwrap().0.words.len(), 1);
    }
}
