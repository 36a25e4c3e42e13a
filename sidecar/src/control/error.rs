//! Why the control plane is not connected, in the words of the log and of `status`.

use std::path::PathBuf;

use countersign_verify::BundleError;
use jiff::Timestamp;

use super::addresses::Unreached;
use super::enrol::EnrolError;
use super::link_state::UnreachedAddress;
use super::recognition::{NoHelp, told};
use super::session::SessionError;
use crate::install::InstallError;
use crate::state::AttemptError;

/// Why the control plane is not connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ControlError {
    /// It was not reached.
    #[error(transparent)]
    Dial(#[from] Unreached),
    /// Somebody was, and did not prove to be it.
    #[error("nobody proved to be the control plane under the bundle of state_dir: {0}; {1}")]
    Unproven(Unreached, NoHelp),
    /// The node was not attested.
    #[error("attestation failed: {0}")]
    Attest(#[from] EnrolError),
    /// The node's credential expired, and there is no token to attest with again.
    #[error("the node's credential expired at {expired}, and attesting again failed: {source}")]
    Expired {
        /// NotAfter of the credential.
        expired: Timestamp,
        /// Why the node was not attested again.
        source: EnrolError,
    },
    /// The control plane knows this node's credential no more, and there is nothing to attest with
    /// again.
    #[error(
        "the control plane does not recognise this node's credential, and attesting again failed: \
         {source}; {remedy}"
    )]
    Unrecognised {
        /// Why the node was not attested again.
        source: EnrolError,
        /// What would help.
        remedy: &'static str,
    },
    /// No bundle says how to recognise the control plane.
    #[error("cannot read the bundle {}: {source}", .path.display())]
    BundleFile {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// No bundle is configured, and none is in the state directory.
    #[error("no trust bundle: set control_plane.bundle for the first contact")]
    NoBundle,
    /// The bundle file holds no root.
    #[error("the bundle {} cannot be used: {source}", .path.display())]
    Bundle {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: BundleError,
    },
    /// What attestation brought cannot be used.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The stream ended.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// There is no key to attest with.
    #[error("{evidence} is not used: {source}")]
    Attempt {
        /// What would have been shown.
        evidence: &'static str,
        /// Why there is no key.
        source: AttemptError,
    },
}

impl ControlError {
    /// The addresses that were not reached.
    pub(super) fn unreached(&self) -> Vec<UnreachedAddress> {
        match self {
            Self::Dial(unreached) | Self::Unproven(unreached, _) => told(unreached),
            _ => Vec::new(),
        }
    }
}
