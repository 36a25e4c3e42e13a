//! The nodes, as operators see them.

use std::collections::HashMap;

use countersign_attest::nodes::Attested;
use countersign_model::SpiffeId;
use jiff::Timestamp;

use super::Authority;
use super::state::State;

/// One node: what is known of it, and why it is out if it is.
#[derive(Clone, Debug)]
pub struct ListedNode {
    /// Its ID.
    pub id: SpiffeId,
    /// Its attestation; `None` for one that is banned and never attested.
    pub attested: Option<Attested>,
    /// How many registrations it holds.
    pub registrations: usize,
    /// How many join tokens could still be used for it.
    pub unused_tokens: usize,
    /// Since when it is banned, and why.
    pub banned: Option<(Timestamp, String)>,
}

impl Authority {
    /// Every node that attested or is banned, or this one alone, by ID.
    pub fn list_nodes(&self, only: Option<&SpiffeId>, now: Timestamp) -> Vec<ListedNode> {
        let state = self.read();
        let attested = state.nodes.ids();
        let banned = state.bans.iter().map(|(id, _)| id);
        let banned = banned.filter(|id| !state.nodes.contains(id));
        let ids = attested.chain(banned);
        let ids = ids.filter(|id| only.is_none_or(|only| only == *id));
        let unused = state.unused_tokens(now);
        let unused = |id| unused.get(id).copied().unwrap_or_default();
        let mut listed: Vec<_> = ids.map(|id| state.listed_node(id, unused(id))).collect();
        listed.sort_by(|a, b| a.id.cmp(&b.id));
        listed
    }
}

impl State {
    fn listed_node(&self, id: &SpiffeId, unused_tokens: usize) -> ListedNode {
        let ban = self.bans.of(id);
        ListedNode {
            id: id.clone(),
            attested: self.nodes.attestation(id),
            registrations: self.registry.count_on(id),
            unused_tokens,
            banned: ban.map(|ban| (ban.since, ban.reason.clone())),
        }
    }

    /// How many unused tokens there are, by node.
    fn unused_tokens(&self, now: Timestamp) -> HashMap<&SpiffeId, usize> {
        let mut count = HashMap::new();
        let tokens = self.tokens.values().map(|known| &known.token);
        for token in tokens.filter(|token| token.is_unused(now)) {
            *count.entry(&token.node).or_default() += 1;
        }
        count
    }
}
