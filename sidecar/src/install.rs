//! The one way in: what arrives from the control plane is verified, compared with what is held,
//! made durable where it must survive a restart, and published once.
//!
//! Only what passed here is acknowledged. A failure changes nothing: what was good before it goes
//! on being served.

mod bundle;
mod credential;
mod entitlements;
mod error;
mod retired;
mod saving;

use std::sync::Arc;
use std::time::Duration;

use countersign_model::{EntitlementId, SpiffeId, TrustDomain};
use countersign_verify::tls::{IdentityCell, TrustCell, certified_key};
use countersign_verify::{VerifiedSvid, verify_svid};
use credential::accept;
pub(crate) use entitlements::MAX_ENTITLEMENTS;
pub(crate) use error::InstallError;
use jiff::Timestamp;
pub(crate) use retired::UselessBundle;
use rustls_pki_types::CertificateDer;
use saving::Unsaved;

use crate::holdings::{Holdings, Svid};
use crate::identity::Keypair;
use crate::identity::renew::PendingKey;
use crate::state::{AttemptError, NodeCredential, StateDir, StoredBundle};

/// A chain as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct ArrivedChain {
    /// The entitlement that it is for.
    pub entitlement: EntitlementId,
    /// Leaf first, root not included.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The only writer of [`Holdings`], of the trust that handshakes are judged by, and of the state
/// directory.
#[derive(Debug)]
pub(crate) struct Installer {
    trust_domain: TrustDomain,
    holdings: Arc<Holdings>,
    trust: Arc<TrustCell>,
    state: StateDir,
    node: Option<NodeCredential>,
    node_identity: Arc<IdentityCell>,
    bundle: Option<StoredBundle>,
    unsaved: Unsaved,
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
            trust_domain,
            holdings,
            trust,
            state,
            node: None,
            node_identity: IdentityCell::empty(),
            bundle: None,
            unsaved: Unsaved::default(),
        };
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

    /// The key to attest with by this token, on disk before it is shown.
    ///
    /// # Errors
    /// No key, or a disk that does not take it.
    pub(crate) fn attempt(&self, token: &str) -> Result<Arc<Keypair>, AttemptError> {
        self.state.attempt(token)
    }

    /// What the control plane is dialled with.
    pub(crate) fn node_identity(&self) -> &Arc<IdentityCell> {
        &self.node_identity
    }

    /// The serial that is held for an entitlement: the version of its chain's resource.
    pub(crate) fn held_serial(&self, id: &EntitlementId) -> Option<String> {
        let snapshot = self.holdings.load();
        let svid = snapshot.entries.get(id)?.svid.as_ref()?;
        Some(svid.serial.to_string())
    }

    /// Whether a version of an entitlement's chain is the one that is held.
    pub(crate) fn holds(&self, id: &EntitlementId, version: &str) -> bool {
        self.held_serial(id).as_deref() == Some(version)
    }

    /// Installs the chain of a pending key. Newer is what was certified for the newest key, which
    /// is the one that waits: clocks, ours and the control plane's, have no say in it.
    ///
    /// # Errors
    /// Why the credential that was held before, if any, is still the one that is served.
    pub(crate) fn chain(
        &mut self,
        arrived: ArrivedChain,
        pending: &PendingKey,
        now: Timestamp,
    ) -> Result<Arc<Svid>, InstallError> {
        let snapshot = self.holdings.load();
        let held = snapshot
            .entries
            .get(&arrived.entitlement)
            .ok_or(InstallError::NotEntitled)?;
        let verified = self.verify(&arrived.certificates, &held.entitlement.spiffe_id, now)?;
        let backdate = held.entitlement.backdate;
        let svid = accept(arrived.certificates, &verified, pending, (backdate, now))?;
        if let Some(old) = held.svid.as_ref().filter(|old| old.serial == svid.serial) {
            return Ok(Arc::clone(old));
        }
        let svid = Arc::new(svid);
        if arrived.entitlement == EntitlementId::node() {
            self.keep_node(Arc::clone(&svid), pending.key_epoch)?;
        }
        self.publish_svid(&arrived.entitlement, &svid);
        Ok(svid)
    }

    /// Installs the node's first credential, from its attestation.
    ///
    /// # Errors
    /// As [`Installer::chain`].
    pub(crate) fn attested(
        &mut self,
        node_id: &SpiffeId,
        chain: Vec<CertificateDer<'static>>,
        pending: &PendingKey,
        now: Timestamp,
    ) -> Result<(), InstallError> {
        let verified = self.verify(&chain, node_id, now)?;
        // The answer that brought it says when it was issued.
        let svid = Arc::new(accept(chain, &verified, pending, (Duration::ZERO, now))?);
        self.keep_node(Arc::clone(&svid), pending.key_epoch)?;
        self.publish_svid(&EntitlementId::node(), &svid);
        Ok(())
    }

    fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        entitled: &SpiffeId,
        now: Timestamp,
    ) -> Result<VerifiedSvid, InstallError> {
        let bundles = self.trust.load();
        if bundles.get(&self.trust_domain).is_none() {
            return Err(InstallError::NoBundle);
        }
        let verified = verify_svid(chain, &bundles, &[], now)?;
        if verified.id != *entitled {
            return Err(InstallError::WrongIdentity {
                entitled: entitled.clone(),
                got: verified.id,
            });
        }
        Ok(verified)
    }

    /// Takes the node's newest credential into use. A disk that does not take it gets it later:
    /// the control plane knows this one, and the one before it ends.
    fn keep_node(&mut self, svid: Arc<Svid>, key_epoch: u64) -> Result<(), InstallError> {
        self.present_node(NodeCredential { svid, key_epoch })?;
        self.unsaved.node = true;
        self.save();
        Ok(())
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
