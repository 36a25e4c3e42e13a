//! Why something that arrived is not used.

use countersign_model::{SerialError, SpiffeId};
use countersign_verify::{BundleError, Refusal};

use super::MAX_ENTITLEMENTS;
use crate::state::StateError;

/// Why something that arrived is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InstallError {
    /// It cannot be trusted at all.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// No bundle has arrived yet that could verify it.
    #[error("no trust bundle is installed yet")]
    NoBundle,
    /// The chain breaks a rule of the standard, or of the installed bundle.
    #[error("the chain is refused: {0}")]
    Refused(#[from] Refusal),
    /// The leaf is of another identity than its entitlement.
    #[error("the leaf is of {got}, entitled is {entitled}")]
    WrongIdentity {
        /// What the entitlement names.
        entitled: SpiffeId,
        /// What the leaf names.
        got: SpiffeId,
    },
    /// This node has no such entitlement.
    #[error("this node is not entitled to it")]
    NotEntitled,
    /// No key of this process waits for this chain.
    #[error("no key waits for this chain")]
    UnknownKey,
    /// The serial is not one of an issuance log.
    #[error(transparent)]
    Serial(#[from] SerialError),
    /// Key and chain do not fit together.
    #[error("the key does not fit the chain: {0}")]
    Key(#[from] rustls::Error),
    /// It does not decode to what its type says.
    #[error("malformed: {0}")]
    Malformed(String),
    /// More entitlements than a node may hold.
    #[error("a node holds at most {MAX_ENTITLEMENTS} entitlements")]
    TooMany,
    /// It could not be made durable.
    #[error(transparent)]
    State(#[from] StateError),
}

impl InstallError {
    /// Whether the same content may be accepted later: with another bundle or clock, or with room
    /// on the disk.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::NoBundle | Self::State(_))
    }

    /// Whether the chain was, or will be, valid at another time: one of two clocks is wrong.
    pub(crate) fn is_of_another_time(&self) -> bool {
        use Refusal::{Expired, NotYetValid};
        matches!(self, Self::Refused(Expired { .. } | NotYetValid { .. }))
    }

    /// Whether the chain is in order and no key of this process waits for it: its key went with an
    /// earlier process, or its right has ended.
    pub(crate) fn is_not_awaited(&self) -> bool {
        matches!(self, Self::UnknownKey | Self::NotEntitled)
    }
}
