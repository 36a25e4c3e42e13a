//! The join tokens, found by their hash, by their node and by the end of their time.

use std::collections::{BTreeSet, HashMap};

use countersign_model::SpiffeId;
use jiff::Timestamp;

use super::{KnownToken, TokenHash};

/// Every token that is remembered, used and expired ones included.
#[derive(Debug, Default)]
pub struct Tokens {
    known: HashMap<TokenHash, KnownToken>,
    by_node: HashMap<SpiffeId, BTreeSet<TokenHash>>,
    /// Until when each is remembered, the first end first.
    ends: BTreeSet<(Timestamp, TokenHash)>,
}

impl Tokens {
    /// A token was made, used or revoked.
    pub fn insert(&mut self, hash: TokenHash, known: KnownToken) {
        self.remove(&hash);
        let of_node = self.by_node.entry(known.token.node.clone()).or_default();
        of_node.insert(hash.clone());
        let end = known.token.remembered_until();
        self.ends.insert((end, hash.clone()));
        self.known.insert(hash, known);
    }

    /// A token is forgotten.
    pub fn remove(&mut self, hash: &TokenHash) {
        let Some(KnownToken { token, .. }) = self.known.remove(hash) else {
            return;
        };
        self.ends.remove(&(token.remembered_until(), hash.clone()));
        if let Some(of_node) = self.by_node.get_mut(&token.node) {
            of_node.remove(hash);
            if of_node.is_empty() {
                self.by_node.remove(&token.node);
            }
        }
    }

    /// A token that is remembered.
    pub fn get(&self, hash: &TokenHash) -> Option<&KnownToken> {
        self.known.get(hash)
    }

    /// Whether a remembered token is for this node.
    pub fn expects(&self, node: &SpiffeId) -> bool {
        self.by_node.contains_key(node)
    }

    /// The tokens of a node that could still be used.
    pub fn unused(
        &self,
        node: &SpiffeId,
        now: Timestamp,
    ) -> impl Iterator<Item = (&TokenHash, &KnownToken)> {
        let of_node = self.by_node.get(node).into_iter().flatten();
        let known = of_node.filter_map(|hash| self.known.get_key_value(hash));
        known.filter(move |(_, known)| known.token.is_unused(now))
    }

    /// The tokens that need not be remembered at `now`, at most so many.
    pub fn forgettable(&self, now: Timestamp, most: usize) -> Vec<TokenHash> {
        let over = self.ends.iter().take_while(|(end, _)| *end < now);
        over.map(|(_, hash)| hash.clone()).take(most).collect()
    }

    /// How many are remembered.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Every token, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&TokenHash, &KnownToken)> {
        self.known.iter()
    }
}
