//! The one way in: what arrives from the control plane is verified, compared with what is held,
//! made durable where it must survive a restart, and published once.
//!
//! Only what passed here is acknowledged. A failure changes nothing: what was good before it goes
//! on being served.

mod error;
mod retired;
mod saving;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_discovery::Stamp;
use countersign_model::{Entitlement, EntitlementId, Lifetime, Serial, SpiffeId, TrustDomain};
use countersign_verify::tls::{IdentityCell, TrustCell, certified_key};
use countersign_verify::{BundleError, BundleSet, TrustBundle, VerifiedSvid, verify_svid};
pub use error::InstallError;
use jiff::Timestamp;
pub use retired::UselessBundle;
use rustls_pki_types::CertificateDer;
use saving::Unsaved;
use sha2::{Digest as _, Sha256};

use crate::holdings::{Held, Holdings, Svid};
use crate::identity::Keypair;
use crate::identity::renew::PendingKey;
use crate::state::{AttemptError, NodeCredential, StateDir, StoredBundle};

/// Most entitlements that one node holds.
pub const MAX_ENTITLEMENTS: usize = 16_384;

/// A chain as it arrived.
#[derive(Clone, Debug)]
pub struct ArrivedChain {
    /// The entitlement that it is for.
    pub entitlement: EntitlementId,
    /// Leaf first, root not included.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The only writer of [`Holdings`], of the trust that handshakes are judged by, and of the state
/// directory.
#[derive(Debug)]
pub struct Installer {
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
    pub fn restore(
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
    pub fn node(&self) -> Option<&NodeCredential> {
        self.node.as_ref()
    }

    /// The key to attest with by this token, on disk before it is shown.
    ///
    /// # Errors
    /// No key, or a disk that does not take it.
    pub fn attempt(&self, token: &str) -> Result<Arc<Keypair>, AttemptError> {
        self.state.attempt(token)
    }

    /// What the control plane is dialled with.
    pub fn node_identity(&self) -> &Arc<IdentityCell> {
        &self.node_identity
    }

    /// Version of the discovery resource that brought the bundle, if one did.
    pub fn bundle_version(&self) -> Option<&str> {
        let version = &self.bundle.as_ref()?.resource_version;
        (!version.is_empty()).then_some(version)
    }

    /// Whether no bundle is held yet, and the configured one has to do.
    pub fn needs_bootstrap(&self) -> bool {
        self.bundle.is_none()
    }

    /// The serial that is held for an entitlement: the version of its chain's resource.
    pub fn held_serial(&self, id: &EntitlementId) -> Option<String> {
        let snapshot = self.holdings.load();
        let svid = snapshot.entries.get(id)?.svid.as_ref()?;
        Some(svid.serial.to_string())
    }

    /// Whether a version of an entitlement's chain is the one that is held.
    pub fn holds(&self, id: &EntitlementId, version: &str) -> bool {
        self.held_serial(id).as_deref() == Some(version)
    }

    /// Trusts the bundle with which the control plane is met for the first time. A bundle that is
    /// already held wins; this one is not stored, and goes with the process.
    pub fn bootstrap(&mut self, bundle: TrustBundle) {
        if self.bundle.is_none() {
            self.trust
                .install([Arc::new(bundle)].into_iter().collect::<BundleSet>());
        }
    }

    /// The roots of the operator's bundle that may stand in for the one that is held: those that the
    /// control plane did not take out, where there is one that is not held already.
    ///
    /// # Errors
    /// There is none.
    pub fn news_of(&self, configured: &TrustBundle) -> Result<TrustBundle, UselessBundle> {
        retired::news_of(configured, self.bundle.as_ref())
    }

    /// Installs a bundle: durable first, then trusted, then published.
    ///
    /// # Errors
    /// No root, one that is none, or a disk that does not take it.
    pub fn bundle(
        &mut self,
        roots: Vec<CertificateDer<'static>>,
        resource_version: &str,
    ) -> Result<(), InstallError> {
        let stored = self.successor(roots, resource_version)?;
        self.state.store_bundle(&stored)?;
        self.trust_in(stored);
        self.unsaved.bundle = false;
        Ok(())
    }

    /// Adds, changes and drops entitlements. A dropped one takes its credential with it.
    ///
    /// # Errors
    /// More than a node may hold: nothing is added, but what was removed is gone.
    pub fn entitlements(
        &mut self,
        present: Vec<Entitlement>,
        removed: &[EntitlementId],
        stamp: Stamp,
    ) -> Result<(), InstallError> {
        let node = self.node.as_ref().map(|node| Arc::clone(&node.svid));
        let mut outcome = Ok(());
        self.holdings.publish(|snapshot| {
            let mut entries = BTreeMap::clone(&snapshot.entries);
            for id in removed {
                entries.remove(id);
            }
            let added = present.iter().filter(|e| !entries.contains_key(&e.id));
            if entries.len() + added.count() > MAX_ENTITLEMENTS {
                outcome = Err(InstallError::TooMany);
            } else {
                for entitlement in present {
                    entitle(&mut entries, entitlement, node.as_ref());
                }
            }
            snapshot.entries = Arc::new(entries);
            snapshot.stamp = snapshot.stamp.max(stamp);
        });
        outcome
    }

    /// Installs the chain of a pending key. Newer is what was certified for the newest key, which
    /// is the one that waits: clocks, ours and the control plane's, have no say in it.
    ///
    /// # Errors
    /// Why the credential that was held before, if any, is still the one that is served.
    pub fn chain(
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
        let svid = accept(arrived.certificates, &verified, pending, backdate)?;
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

    /// Trusts the bundle that an attestation brought, also where the disk does not take it yet: the
    /// token that it was had for is burnt.
    ///
    /// # Errors
    /// No root, or one that is none.
    pub fn attested_bundle(
        &mut self,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<(), InstallError> {
        let stored = self.successor(roots, "")?;
        self.trust_in(stored);
        self.unsaved.bundle = true;
        self.save();
        Ok(())
    }

    /// Installs the node's first credential, from its attestation.
    ///
    /// # Errors
    /// As [`Installer::chain`].
    pub fn attested(
        &mut self,
        node_id: &SpiffeId,
        chain: Vec<CertificateDer<'static>>,
        pending: &PendingKey,
        now: Timestamp,
    ) -> Result<(), InstallError> {
        let verified = self.verify(&chain, node_id, now)?;
        // The answer that brought it says when it was issued.
        let svid = Arc::new(accept(chain, &verified, pending, Duration::ZERO)?);
        self.keep_node(Arc::clone(&svid), pending.key_epoch)?;
        self.publish_svid(&EntitlementId::node(), &svid);
        Ok(())
    }

    /// Notes why an entitlement has no newer credential, for `status`.
    pub fn problem(&self, id: &EntitlementId, problem: &str) {
        let snapshot = self.holdings.load();
        let known = snapshot.entries.get(id).map(|held| held.problem.as_deref());
        if known.is_none_or(|old| old == Some(problem)) {
            return;
        }
        self.holdings.publish(|snapshot| {
            let mut entries = BTreeMap::clone(&snapshot.entries);
            if let Some(held) = entries.get_mut(id) {
                held.problem = Some(problem.into());
            }
            snapshot.entries = Arc::new(entries);
        });
    }

    /// Notes why a newer bundle is not installed, for `status`.
    pub fn bundle_problem(&self, problem: &str) {
        if self.holdings.load().bundle_problem.as_deref() != Some(problem) {
            self.holdings
                .publish(|snapshot| snapshot.bundle_problem = Some(problem.into()));
        }
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

    fn successor(
        &self,
        roots: Vec<CertificateDer<'static>>,
        resource_version: &str,
    ) -> Result<StoredBundle, BundleError> {
        let bundle = Arc::new(TrustBundle::new(self.trust_domain.clone(), roots)?);
        Ok(StoredBundle {
            resource_version: resource_version.to_owned(),
            retired: retired::after(self.bundle.as_ref(), &bundle),
            bundle,
        })
    }

    fn trust_in(&mut self, stored: StoredBundle) {
        let bundle = Arc::clone(&stored.bundle);
        self.trust
            .install([Arc::clone(&bundle)].into_iter().collect::<BundleSet>());
        self.bundle = Some(stored);
        self.holdings.publish(|snapshot| {
            snapshot.bundle = Some(bundle);
            snapshot.bundle_problem = None;
        });
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

    fn publish_svid(&self, id: &EntitlementId, svid: &Arc<Svid>) {
        self.holdings.publish(|snapshot| {
            let mut entries = BTreeMap::clone(&snapshot.entries);
            if let Some(held) = entries.get_mut(id) {
                held.svid = Some(Arc::clone(svid));
                held.problem = None;
            }
            snapshot.entries = Arc::new(entries);
        });
    }
}

fn entitle(
    entries: &mut BTreeMap<EntitlementId, Held>,
    entitlement: Entitlement,
    node: Option<&Arc<Svid>>,
) {
    let id = entitlement.id.clone();
    let old = entries.remove(&id);
    let inherited = match old {
        // The same name of another identity would be another right: nothing is inherited.
        Some(old) if old.entitlement.spiffe_id == entitlement.spiffe_id => (old.svid, old.problem),
        _ if id == EntitlementId::node() => {
            let own = node.filter(|svid| svid.id == entitlement.spiffe_id);
            (own.cloned(), None)
        }
        _ => (None, None),
    };
    let (svid, problem) = inherited;
    let entitlement = Arc::new(entitlement);
    entries.insert(
        id,
        Held {
            entitlement,
            svid,
            problem,
        },
    );
}

/// Joins a verified chain with the key that waited for it. `backdate` is how far before its issue
/// its NotBefore lies.
fn accept(
    chain: Vec<CertificateDer<'static>>,
    verified: &VerifiedSvid,
    pending: &PendingKey,
    backdate: Duration,
) -> Result<Svid, InstallError> {
    if Sha256::digest(pending.key.spki())[..] != verified.spki_sha256 {
        return Err(InstallError::UnknownKey);
    }
    certified_key(chain.clone(), pending.key.pkcs8())?;
    // The chain can overtake the answer to its enrolment; NotBefore then tells when it was issued.
    // So it does where the answer contradicts the chain: the renewal must fall into its lifetime.
    let validity = verified.not_before..verified.not_after;
    let issued = pending.issued.map(|issued| issued.issued_at);
    let issued_at = match issued.filter(|at| validity.contains(at)) {
        Some(issued_at) => issued_at,
        None => verified
            .not_before
            .checked_add(backdate)
            .unwrap_or(verified.not_after)
            .min(verified.not_after),
    };
    Ok(Svid {
        id: verified.id.clone(),
        chain,
        key: pending.key.pkcs8().clone(),
        serial: Serial::from_bytes(&verified.serial)?,
        lifetime: Lifetime {
            issued_at,
            not_after: verified.not_after,
        },
    })
}

#[cfg(test)]
mod tests;
