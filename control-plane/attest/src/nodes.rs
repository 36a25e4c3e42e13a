//! Nodes that attested, and by which of their keys they are recognised.
//!
//! A node is recognised by its newest key, or by the one before while the change is under way.
//! An attestation begins a new lineage, numbered by the commit that made it durable: of two at the
//! same moment one is the later, and only that one is the node's. Keys from before it recognise
//! nobody.

mod keys;
mod stored;

use std::collections::HashMap;
use std::time::Duration;

use countersign_model::tables::give_back;
use countersign_model::{Seq, Serial, SpiffeId};
use jiff::Timestamp;

use super::AttestedNode;
use super::steady::Steady;
pub use keys::NodeKey;
use keys::NodeKeys;
pub use stored::StoredNode;

/// Most nodes that are known: 8,700 new ones a day, for each is remembered for `REMEMBERED`. Each
/// takes a join token of the operator's, and a third of a kilobyte.
pub const MAX_NODES: usize = 262_144;
/// A node is forgotten this long after the last credential that is known of it ended: operators see
/// until then what it was, and what it was given has long ended. A start knows of credentials that are
/// valid, of the attestation and of the eviction.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The newest attestation of a node.
#[derive(Clone, Debug)]
pub struct Attested {
    /// The number of the lineage that it began.
    pub lineage: u64,
    /// When it was.
    pub at: Timestamp,
    /// Serials of the certificates whose keys it is recognised by, newest first.
    pub serials: Vec<Serial>,
    /// NotAfter of the newest certificate that it was given, over all its entitlements.
    pub credential_not_after: Timestamp,
    /// When the lineage was ended by hand, and why.
    pub evicted: Option<(Timestamp, String)>,
}

#[derive(Clone, Debug)]
struct Node {
    stored: StoredNode,
    /// The commit that wrote it last.
    lineage: Seq,
    keys: NodeKeys,
    credential_not_after: Timestamp,
}

impl Node {
    fn as_attested(&self, id: &SpiffeId) -> AttestedNode {
        AttestedNode::new(id.clone(), self.stored.method, self.lineage)
    }
}

/// Every node, by ID.
#[derive(Debug, Default)]
pub struct Nodes {
    known: HashMap<SpiffeId, Node>,
    steady: Steady,
}

impl Nodes {
    /// A node attested or was evicted, by this commit: keys of the lineage before go. What is older
    /// than what is known changes nothing.
    pub fn written(&mut self, id: &SpiffeId, stored: StoredNode, lineage: Seq) {
        let end = stored.changed_at();
        let node = self.known.entry(id.clone()).or_insert_with(|| Node {
            stored: stored.clone(),
            lineage,
            keys: NodeKeys::default(),
            credential_not_after: end,
        });
        if lineage >= node.lineage {
            node.keys.begin(lineage);
            node.stored = stored;
            node.lineage = lineage;
        }
    }

    /// The proof of the attestation that this commit made durable, while it is the newest of its node.
    pub fn of_lineage(&self, id: &SpiffeId, lineage: Seq) -> Option<AttestedNode> {
        let node = self.known.get(id).filter(|node| node.lineage == lineage)?;
        Some(node.as_attested(id))
    }

    /// Whether a lineage of a node is not its newest.
    pub fn is_earlier(&self, id: &SpiffeId, lineage: Option<Seq>) -> bool {
        let node = self.known.get(id);
        node.is_some_and(|node| lineage.is_none_or(|lineage| lineage < node.lineage))
    }

    /// The newest lineage of a node, where it began before this time: for certificates of an older
    /// version, which do not name theirs.
    pub fn lineage_at(&self, id: &SpiffeId, certified_at: Timestamp) -> Option<Seq> {
        let node = self.known.get(id)?;
        (node.stored.changed_at() <= certified_at).then_some(node.lineage)
    }

    /// The key by which a node is recognised that was certified last.
    pub fn newest_key(&self, id: &SpiffeId) -> Option<&NodeKey> {
        self.known.get(id)?.keys.newest()
    }

    /// A node key was certified.
    pub fn certified(&mut self, id: &SpiffeId, key: NodeKey) {
        if let Some(node) = self.in_lineage(id, &key) {
            node.keys.certified(key);
        }
    }

    /// Another control plane logged a certificate for a node key. Whether it is given to the node is known
    /// once its signature comes; its key recognises the node until then, beside those that are known.
    pub fn logged(&mut self, id: &SpiffeId, key: NodeKey) {
        if let Some(node) = self.in_lineage(id, &key) {
            node.keys.logged(key);
        }
    }

    /// The node of a key, unless it attested anew since the key was certified.
    fn in_lineage(&mut self, id: &SpiffeId, key: &NodeKey) -> Option<&mut Node> {
        let node = self.known.get_mut(id);
        node.filter(|node| key.lineage >= node.lineage)
    }

    /// A certificate that another control plane logged was given to nobody.
    pub fn voided(&mut self, id: &SpiffeId, serial: &Serial) {
        if let Some(node) = self.known.get_mut(id) {
            node.keys.voided(serial);
        }
    }

    /// A certificate for a node or one of its workloads was issued.
    pub fn credited(&mut self, id: &SpiffeId, not_after: Timestamp) {
        if let Some(node) = self.known.get_mut(id) {
            node.credential_not_after = node.credential_not_after.max(not_after);
        }
    }

    /// The node that a handshake has shown, where this is one of its current keys.
    pub(crate) fn recognise(&self, id: &SpiffeId, spki_sha256: &[u8; 32]) -> Option<AttestedNode> {
        // The text that is kept here: what is issued to the node shares it.
        let (id, node) = self.known.get_key_value(id)?;
        let is_known = node.keys.has(spki_sha256);
        is_known.then(|| node.as_attested(id))
    }

    /// The lineage that a key of a node can be recognised in which was certified before the state was
    /// restored by a commit: the node has neither attested nor been evicted since then, nor since the
    /// time at which the key was certified.
    pub fn may_adopt(
        &self,
        id: &SpiffeId,
        restored_by: Seq,
        certified_at: Timestamp,
    ) -> Option<Seq> {
        let node = self.known.get(id)?;
        // Certificates speak in whole seconds.
        let is_after = node.stored.attested_at.as_second() <= certified_at.as_second();
        let may = is_after && node.lineage < restored_by && node.stored.evicted.is_none();
        may.then_some(node.lineage)
    }

    /// Recognises such a key from now on, and answers whether it does: not every key
    /// [can](Self::may_adopt) be.
    pub fn adopt(
        &mut self,
        id: &SpiffeId,
        (serial, spki_sha256): (Serial, [u8; 32]),
        restored_by: Seq,
        certified_at: Timestamp,
    ) -> bool {
        let Some(lineage) = self.may_adopt(id, restored_by, certified_at) else {
            return false;
        };
        // Newer than whatever the restored state knows, and older than what was certified since then.
        let order = self.newest_key(id).map_or(0, |newest| newest.order);
        self.certified(
            id,
            NodeKey {
                lineage,
                order,
                spki_sha256,
                serial,
            },
        );
        self.recognise(id, &spki_sha256).is_some()
    }

    /// Whether a node has not attested anew since this proof was made: whoever holds an older key
    /// may have been sent away by that.
    pub fn is_current(&self, proof: &AttestedNode) -> bool {
        let node = self.known.get(proof.id());
        node.is_some_and(|node| node.lineage == proof.lineage)
    }

    /// The ID of a node, in the text that is kept here.
    pub fn known(&self, id: &SpiffeId) -> Option<&SpiffeId> {
        self.known.get_key_value(id).map(|(id, _)| id)
    }

    /// Whether this ID is a node's.
    pub fn contains(&self, id: &SpiffeId) -> bool {
        self.known.contains_key(id)
    }

    /// Whether what was certified for a lineage of a node ended with an eviction.
    pub fn is_ended(&self, id: &SpiffeId, lineage: Option<Seq>) -> bool {
        let node = self.known.get(id);
        node.is_some_and(|node| node.stored.has_ended(lineage.unwrap_or_default()))
    }

    /// The IDs of all nodes.
    pub fn ids(&self) -> impl Iterator<Item = &SpiffeId> {
        self.known.keys()
    }

    /// What is stored of a node.
    pub fn stored(&self, id: &SpiffeId) -> Option<&StoredNode> {
        Some(&self.known.get(id)?.stored)
    }

    /// What is stored of a node, and the commit that wrote it.
    pub fn stored_by(&self, id: &SpiffeId) -> Option<(&StoredNode, Seq)> {
        let node = self.known.get(id)?;
        Some((&node.stored, node.lineage))
    }

    /// Until when something that a node was given is valid.
    pub fn credential_not_after(&self, id: &SpiffeId) -> Option<Timestamp> {
        Some(self.known.get(id)?.credential_not_after)
    }

    /// The newest attestation of a node, for operators.
    pub fn attestation(&self, id: &SpiffeId) -> Option<Attested> {
        let node = self.known.get(id)?;
        Some(Attested {
            lineage: node.lineage.0,
            at: node.stored.attested_at,
            serials: node.keys.serials(),
            credential_not_after: node.credential_not_after,
            evicted: node.stored.evicted.clone(),
        })
    }

    /// Whether there is room for one more, or it is known already.
    pub fn has_room_for(&self, id: &SpiffeId) -> bool {
        self.known.len() < MAX_NODES || self.known.contains_key(id)
    }

    /// Notes what the clock says, and answers whether nodes may be forgotten by it: it is
    /// steady.
    pub fn may_forget(&mut self, now: Timestamp) -> bool {
        self.steady.at(now)
    }

    /// Nodes whose last credential ended long ago, and the commits that wrote them last. To be asked
    /// where they [may be](Self::may_forget) forgotten.
    pub fn forgettable(&self, now: Timestamp) -> impl Iterator<Item = (SpiffeId, Seq)> {
        let is_over = move |node: &Node| {
            let end = node.credential_not_after.checked_add(REMEMBERED);
            end.is_ok_and(|end| end < now)
        };
        let over = self.known.iter().filter(move |(_, node)| is_over(node));
        over.map(|(id, node)| (id.clone(), node.lineage))
    }

    /// Forgets a node, by this commit, where it was not written again since.
    pub fn forget(&mut self, id: &SpiffeId, seq: Seq) {
        if self.known.get(id).is_some_and(|node| node.lineage < seq) {
            self.known.remove(id);
            give_back(&mut self.known);
        }
    }

    /// How many are known.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// ID, last attestation and end of the newest credential of the nodes that are not evicted.
    pub fn iter(&self) -> impl Iterator<Item = (&SpiffeId, Timestamp, Timestamp)> {
        let here = self.known.iter();
        here.filter(|(_, node)| node.stored.evicted.is_none())
            .map(|(id, node)| (id, node.stored.attested_at, node.credential_not_after))
    }

    /// When a node attested last.
    pub fn attested_at(&self, id: &SpiffeId) -> Option<Timestamp> {
        Some(self.known.get(id)?.stored.attested_at)
    }
}

#[cfg(test)]
mod tests;
