//! Attestation: evidence that the control plane itself has verified.
//!
//! [`AttestedNode`] and [`ProvenKey`] can be made here alone. A workload's SVID attests nothing:
//! only a current key of a node's own SVID, or a join token, does.

pub(crate) mod join_token;
pub(crate) mod key_proof;
pub(crate) mod nodes;

use countersign_model::SpiffeId;
pub use key_proof::ProvenKey;

/// A node whose evidence was verified: by a token just now, or by its own node SVID in the
/// handshake of this connection. Made by `attest` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestedNode {
    id: SpiffeId,
}

impl AttestedNode {
    /// Its ID.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    fn new(id: SpiffeId) -> Self {
        Self { id }
    }
}
