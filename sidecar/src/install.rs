//! The one way in: what arrives from the control plane is verified, compared with what is held,
//! made durable where it must survive a restart, and published once.
//!
//! Only what passed here is acknowledged. A failure changes nothing: what was good before it goes
//! on being served.

mod bundle;
mod chain;
mod entitlements;
mod error;
mod kind;
mod known_addresses;
mod retired;
mod saving;

use std::sync::Arc;

use countersign_model::{SpiffeId, TrustDomain};
use countersign_verify::tls::{IdentityCell, TrustCell, certified_key};
pub(crate) use entitlements::MAX_ENTITLEMENTS;
pub(crate) use error::InstallError;
pub(crate) use kind::{Intake, KINDS, Verdict};
use known_addresses::KnownAddresses;
pub(crate) use retired::UselessBundle;
use saving::Unsaved;

use crate::holdings::Holdings;
use crate::identity::Keypair;
use crate::state::{AttemptError, NodeCredential, StateDir, StoredBundle};

/// The only writer of [`Holdings`], of the trust that handshakes are judged by, and of the state
/// directory.
#[derive(Debug)]
pub(crate) struct Installer {
    trust_domain: TrustDomain,
    /// The name of our own trust domain's bundle.
    bundle_name: SpiffeId,
    holdings: Arc<Holdings>,
    trust: Arc<TrustCell>,
    state: StateDir,
    node: Option<NodeCredential>,
    node_identity: Arc<IdentityCell>,
    bundle: Option<StoredBundle>,
    unsaved: Unsaved,
    /// Where control planes are, as one of them told.
    addresses: KnownAddresses,
}

impl Installer {
    /// Restores what survived in the state directory.
    ///
    /// # Errors
    /// A damaged file: nothing is guessed about a key.
    pub(crate) fn restore(
        trust_domain: TrustDomain,
        state: StateDir,
        holdings: Arc<Holdings>,
        trust: Arc<TrustCell>,
    ) -> Result<Self, InstallError> {
        let mut installer = Self {
            bundle_name: trust_domain.id(),
            trust_domain,
            holdings,
            trust,
            state,
            node: None,
            node_identity: IdentityCell::empty(),
            bundle: None,
            unsaved: Unsaved::default(),
            addresses: KnownAddresses::default(),
        };
        installer.restore_addresses();
        if let Some(stored) = installer.state.load_bundle(&installer.trust_domain)? {
            installer.trust_in(stored);
        }
        if let Some(node) = installer.state.load_node()? {
            installer.present_node(node)?;
        }
        Ok(installer)
    }

    /// The node's own credential.
    pub(crate) fn node(&self) -> Option<&NodeCredential> {
        self.node.as_ref()
    }

    /// The key to attest with by this evidence, on disk before it is shown.
    ///
    /// # Errors
    /// No key, or a disk that does not take it.
    pub(crate) fn attempt(&self, evidence: &str) -> Result<Arc<Keypair>, AttemptError> {
        self.state.attempt(evidence)
    }

    /// What the control plane is dialled with.
    pub(crate) fn node_identity(&self) -> &Arc<IdentityCell> {
        &self.node_identity
    }

    fn present_node(&mut self, node: NodeCredential) -> Result<(), InstallError> {
        let key = certified_key(node.svid.chain.clone(), &node.svid.key)?;
        self.node_identity.install(key);
        self.node = Some(node);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
