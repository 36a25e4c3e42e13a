//! Attestation: evidence that the control plane itself has verified.
//!
//! [`AttestedNode`] and [`ProvenKey`] can be made here alone. A workload's SVID attests nothing:
//! only a current key of a node's own SVID, or a join token, does.

pub mod bans;
pub mod join_token;
pub mod key_proof;
pub mod nodes;
mod steady;

use countersign_model::{Seq, SpiffeId};
use serde::{Deserialize, Serialize};

pub use key_proof::ProvenKey;

/// A way in which nodes attest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attestor {
    /// A one-time join token.
    #[default]
    JoinToken,
}

impl Attestor {
    /// Every way.
    pub const ALL: [Self; 1] = [Self::JoinToken];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JoinToken => "join_token",
        }
    }
}

/// A node whose evidence was verified: by a token just now, or by its own node SVID in the
/// handshake of this connection. Made by `attest` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestedNode {
    id: SpiffeId,
    attestor: Attestor,
    /// Its attestation, by the commit that wrote it.
    lineage: Seq,
}

impl AttestedNode {
    /// Its ID.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// How it attested.
    pub fn attestor(&self) -> Attestor {
        self.attestor
    }

    fn new(id: SpiffeId, attestor: Attestor, lineage: Seq) -> Self {
        Self {
            id,
            attestor,
            lineage,
        }
    }
}
