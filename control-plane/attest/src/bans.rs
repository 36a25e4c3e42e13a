//! Nodes that an operator banned: no token attests them until they are unbanned.

use std::collections::HashMap;

use countersign_model::SpiffeId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use countersign_refusal::Denied;

/// Most nodes that are banned at once: a fleet with more has another problem than single nodes, and
/// a ban can be lifted.
pub const MAX_BANS: usize = 10_000;

/// Why a node is banned, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// When it was banned.
    pub since: Timestamp,
    /// What the operator said.
    pub reason: String,
}

/// Every banned node, by ID. One that never attested may be among them.
#[derive(Debug, Default)]
pub struct Bans(HashMap<SpiffeId, Ban>);

impl Bans {
    /// A node is banned.
    pub fn insert(&mut self, node: SpiffeId, ban: Ban) {
        self.0.insert(node, ban);
    }

    /// A ban is lifted.
    pub fn remove(&mut self, node: &SpiffeId) {
        self.0.remove(node);
    }

    /// The ban of a node, if there is one.
    pub fn of(&self, node: &SpiffeId) -> Option<&Ban> {
        self.0.get(node)
    }

    /// Every banned node.
    pub fn iter(&self) -> impl Iterator<Item = (&SpiffeId, &Ban)> {
        self.0.iter()
    }

    /// Whether a node may attest, and be given a token.
    ///
    /// # Errors
    /// It is banned.
    pub fn check(&self, node: &SpiffeId) -> Result<(), Denied> {
        let Some(Ban { since, reason }) = self.of(node) else {
            return Ok(());
        };
        Err(Denied {
            code: "node_banned",
            message: format!("{node} is banned since {since}: {reason}"),
            remedy: "lift the ban with `countersign node unban`, once the reason for it is gone",
        })
    }

    /// Whether one more node can be banned.
    ///
    /// # Errors
    /// Too many are.
    pub fn check_room(&self, node: &SpiffeId) -> Result<(), Denied> {
        if self.0.len() < MAX_BANS || self.0.contains_key(node) {
            return Ok(());
        }
        Err(Denied {
            code: "too_many_bans",
            message: format!("{MAX_BANS} nodes are banned"),
            remedy: "lift bans that are no longer needed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_have_a_bound() {
        let node = |n: usize| SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap();
        let ban = Ban {
            since: Timestamp::UNIX_EPOCH,
            reason: "stolen".to_owned(),
        };
        let mut bans = Bans::default();
        (0..MAX_BANS).for_each(|n| bans.insert(node(n), ban.clone()));
        assert_eq!(
            bans.check_room(&node(MAX_BANS)).unwrap_err().code,
            "too_many_bans"
        );
        bans.check_room(&node(0)).expect("it is banned already");
        let refused = bans.check(&node(0)).unwrap_err();
        assert!(refused.message.contains("stolen"), "{refused}");
        bans.remove(&node(0));
        bans.check(&node(0)).unwrap();
    }
}
