//! By which keys a node is recognised: the newest few that were certified for it, and those of
//! certificates that another control plane logged and that may have been given.

use countersign_model::{Seq, Serial};

/// How many of a node's newest keys are recognised.
const KEYS: usize = 2;

/// A key that was certified for a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeKey {
    /// The attestation of the node that it was certified under, by the commit that wrote it.
    pub lineage: Seq,
    /// Where it stands among the certificates of the node: those that were logged later are higher.
    pub order: u64,
    /// SHA-256 over its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Of the certificate.
    pub serial: Serial,
}

/// The keys of one node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeKeys {
    /// Newest last.
    certified: Vec<NodeKey>,
    /// Of certificates that another control plane logged and that may have been given; newest last.
    unsigned: Vec<NodeKey>,
}

impl NodeKeys {
    /// A lineage began: keys of those before go.
    pub(super) fn begin(&mut self, lineage: Seq) {
        self.certified.retain(|key| key.lineage >= lineage);
        self.unsigned.retain(|key| key.lineage >= lineage);
    }

    /// A key was certified.
    pub(super) fn certified(&mut self, key: NodeKey) {
        self.voided(&key.serial);
        keep(&mut self.certified, key);
    }

    /// Another control plane logged a certificate for a key.
    pub(super) fn logged(&mut self, key: NodeKey) {
        keep(&mut self.unsigned, key);
    }

    /// What another control plane logged was given to nobody.
    pub(super) fn voided(&mut self, serial: &Serial) {
        self.unsigned.retain(|key| key.serial != *serial);
    }

    /// Whether this is one of them.
    pub(super) fn has(&self, spki_sha256: &[u8; 32]) -> bool {
        let mut keys = self.certified.iter().chain(&self.unsigned);
        keys.any(|key| key.spki_sha256 == *spki_sha256)
    }

    /// The one that was certified last.
    pub(super) fn newest(&self) -> Option<&NodeKey> {
        self.certified.last()
    }

    /// Serials of the certificates, newest first.
    pub(super) fn serials(&self) -> Vec<Serial> {
        self.certified.iter().rev().map(|key| key.serial).collect()
    }
}

/// Keeps the newest few.
fn keep(keys: &mut Vec<NodeKey>, key: NodeKey) {
    keys.push(key);
    // Stable: of two at the same place the later is the newer.
    keys.sort_by_key(|key| key.order);
    let excess = keys.len().saturating_sub(KEYS);
    keys.drain(..excess);
}
