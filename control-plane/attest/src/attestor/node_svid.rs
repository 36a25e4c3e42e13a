//! Recognition: a node that attested shows its own X.509-SVID in the handshake.
//!
//! While its connection lives a node may renew that proof: an enrolment of its node key on the same
//! TLS session is bound to the session's exporter, so the session goes on under the new
//! certificate instead of being cut.

use std::collections::HashMap;

use countersign_model::SpiffeId;
use countersign_model::tables::{FirstEnd, give_back};
use countersign_refusal::Denied;
use jiff::Timestamp;

use super::{Attestor, SessionFacts, Verdict};
use crate::nodes::{MAX_NODES, Nodes};

/// Most renewed proofs that are remembered: one of each node that can have attested.
const MAX_RENEWED: usize = MAX_NODES;
/// As operators are told of it.
pub const NAME: &str = "node_svid";

/// A certificate whose key was proved on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// SHA-256 over the SubjectPublicKeyInfo of its key.
    pub spki_sha256: [u8; 32],
    /// When it ends.
    pub not_after: Timestamp,
}

/// Recognises a node by a certificate that it has shown.
#[derive(Debug)]
pub struct NodeSvid<'a> {
    id: &'a SpiffeId,
    not_after: Timestamp,
    nodes: &'a Nodes,
}

impl<'a> NodeSvid<'a> {
    /// Of the node with this ID. Which key it has shown is a fact of the session.
    pub fn new(id: &'a SpiffeId, not_after: Timestamp, nodes: &'a Nodes) -> Self {
        Self {
            id,
            not_after,
            nodes,
        }
    }
}

impl Attestor for NodeSvid<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    /// The handshake has proved it.
    fn proven_node(&self) -> Option<SpiffeId> {
        Some(self.id.clone())
    }

    fn node(&self) -> Result<SpiffeId, Denied> {
        Ok(self.id.clone())
    }

    fn screen(&self, facts: &SessionFacts) -> Result<(), Denied> {
        if facts.now > self.not_after {
            return Err(refused("svid_expired", "expired"));
        }
        Ok(())
    }

    /// `None` of the node's current keys, as that of a workload's SVID, recognises nobody.
    fn judge(&self, facts: &SessionFacts) -> Result<Verdict, Denied> {
        self.screen(facts)?;
        let node = self.nodes.recognise(self.id, &facts.spki_sha256);
        let node = node.ok_or_else(|| refused("not_a_node", "not the SVID of a node"))?;
        Ok(Verdict::Recognised(node))
    }
}

fn refused(code: &'static str, message: &str) -> Denied {
    Denied {
        code,
        message: message.to_owned(),
        remedy: "attest the node anew, with a new token of `countersign token create`",
    }
}

/// The newest renewed proof of each node, with the exporter of the session it was made on, until
/// it ends.
#[derive(Debug, Default)]
pub struct Renewed {
    proofs: HashMap<SpiffeId, ([u8; 32], Shown)>,
    first_end: FirstEnd,
}

impl Renewed {
    /// Remembers a proof. Without room the session ends with the certificate of its handshake.
    pub fn insert(&mut self, id: &SpiffeId, exporter: [u8; 32], proof: Shown, now: Timestamp) {
        if self.first_end.is_before(now) {
            self.proofs.retain(|_, (_, proof)| proof.not_after >= now);
            give_back(&mut self.proofs);
            let ends = self.proofs.values().map(|(_, proof)| proof.not_after);
            self.first_end.follow(ends);
        }
        if self.proofs.len() < MAX_RENEWED || self.proofs.contains_key(id) {
            self.proofs.insert(id.clone(), (exporter, proof));
            self.first_end.note(proof.not_after);
        }
    }

    /// What a session of a node rests on: its newest proof, else that of its handshake.
    pub fn newest(&self, id: &SpiffeId, exporter: &[u8; 32], handshake: Shown) -> Shown {
        match self.proofs.get(id) {
            Some((session, renewed)) if session == exporter => *renewed,
            _ => handshake,
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_model::{Seq, Serial};

    use super::*;
    use crate::attestor::join_token::tests::verdict;
    use crate::nodes::NodeKey;

    #[test]
    fn current_key_of_a_node_recognises_it_until_its_end() {
        let id = SpiffeId::new("spiffe://example.org/node/a").unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let stored = verdict(id.clone()).stored(None, at(0));
        let mut nodes = Nodes::default();
        nodes.written(&id, stored, Seq(5));
        let serial = Serial::new(1 << 20, 1, [7; 8]).unwrap();
        nodes.certified(
            &id,
            NodeKey {
                lineage: Seq(5),
                order: 1,
                spki_sha256: [1; 32],
                serial,
            },
        );
        let judge = |id: &SpiffeId, key, second| {
            let facts = SessionFacts {
                spki_sha256: [key; 32],
                exporter: [0; 32],
                now: at(second),
            };
            let verdict = NodeSvid::new(id, at(60), &nodes).judge(&facts);
            verdict.and_then(Verdict::recognised)
        };
        assert_eq!(judge(&id, 1, 60).ok(), nodes.of_lineage(&id, Seq(5)));
        assert_eq!(judge(&id, 1, 61).unwrap_err().code, "svid_expired");
        assert_eq!(judge(&id, 2, 1).unwrap_err().code, "not_a_node");
        let workload = SpiffeId::new("spiffe://example.org/web").unwrap();
        assert_eq!(judge(&workload, 1, 1).unwrap_err().code, "not_a_node");
    }

    #[test]
    fn renewed_proofs_are_bounded_and_end() {
        let mut renewed = Renewed::default();
        let id = |n: usize| SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let until = |second| Shown {
            spki_sha256: [0; 32],
            not_after: at(second),
        };
        for n in 0..=MAX_RENEWED {
            renewed.insert(&id(n), [0; 32], until(5), at(0));
        }
        assert_eq!(renewed.proofs.len(), MAX_RENEWED);
        renewed.insert(&id(3), [1; 32], until(9), at(5));
        assert_eq!(renewed.proofs[&id(3)].0, [1; 32], "a known one is replaced");
        renewed.insert(&id(MAX_RENEWED), [2; 32], until(9), at(6));
        assert_eq!(renewed.proofs.len(), 2);
        assert!(renewed.proofs.capacity() < MAX_RENEWED / 16);
    }
}
