//! Attestation: evidence that the control plane itself has verified.
//!
//! An [`Attestor`] turns evidence into a [`Verdict`](attestor::Verdict); what comes of that is an
//! [`AttestedNode`], once it is committed. Both, and [`ProvenKey`], can be made here alone. A
//! workload's SVID attests nothing: only a current key of a node's own SVID does, or evidence that
//! an attestor takes.

pub mod attestor;
pub mod bans;
pub mod key_proof;
mod method;
pub mod nodes;
pub mod refusals;
mod steady;

use countersign_model::{Seq, SpiffeId};

pub use attestor::{Attestor, join_token, node_svid};
pub use key_proof::ProvenKey;
pub use method::Method;

/// A node whose evidence was verified: just now, or by its own node SVID in the handshake of this
/// connection. Made by `attest` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestedNode {
    id: SpiffeId,
    method: Method,
    /// Its attestation, by the commit that wrote it.
    lineage: Seq,
}

impl AttestedNode {
    /// Its ID.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// How it attested.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The commit that made its attestation durable.
    pub fn lineage(&self) -> Seq {
        self.lineage
    }

    fn new(id: SpiffeId, method: Method, lineage: Seq) -> Self {
        Self {
            id,
            method,
            lineage,
        }
    }
}
