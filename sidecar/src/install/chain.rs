//! Chains: each is verified, and becomes a credential with the key that waited for it.
//!
//! What is asked for is what was certified. A chain that no key of this process waits for, as after a
//! restart, is no mistake of anybody: it is left out and not held.

use std::sync::Arc;
use std::time::Duration;

use countersign_discovery::{Change, Resource};
use countersign_envoy::{SECRET_TYPE, read_certificate_chain};
use countersign_model::{EntitlementId, Lifetime, Serial, SpiffeId};
use countersign_verify::tls::certified_key;
use countersign_verify::{VerifiedSvid, verify_svid};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::kind::{Intake, Kind, Verdict, Wanted, malformed};
use super::{InstallError, Installer};
use crate::holdings::Svid;
use crate::identity::Keypair;
use crate::identity::renew::{FIRST_KEY_EPOCH, PendingKey};
use crate::state::NodeCredential;

/// The certificates of what this node may hold.
pub(super) struct Chains;

/// A chain as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct ArrivedChain {
    /// The entitlement that it is for.
    pub(crate) entitlement: EntitlementId,
    /// Leaf first, root not included.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
}

impl Kind for Chains {
    fn type_url(&self) -> &'static str {
        SECRET_TYPE
    }

    fn includes(&self, name: &str, installer: &Installer) -> bool {
        name != installer.bundle_name.as_str()
    }

    fn wanted(&self, _: &Installer) -> Option<Wanted> {
        None
    }

    fn take(&self, arrived: &[&Change], intake: &mut Intake<'_>, verdict: &mut Verdict) {
        for change in arrived {
            let Change::Present(resource) = change else {
                verdict.keep(change);
                continue;
            };
            match install(resource, intake) {
                Ok(()) => verdict.keep(change),
                Err(error) if error.is_not_awaited() => {
                    tracing::debug!(entitlement = &*resource.name, %error, "chain left out");
                }
                Err(error) => verdict.refuse(resource, error),
            }
        }
    }
}

fn install(resource: &Resource, intake: &mut Intake<'_>) -> Result<(), InstallError> {
    let Intake {
        installer,
        renewals,
        metrics,
        draws,
        now,
        ..
    } = intake;
    let id = EntitlementId::parse(&resource.name).ok_or(InstallError::NotEntitled)?;
    if installer.holds(&id, &resource.version) {
        return Ok(());
    }
    let pending = renewals.pending(&id).cloned();
    let pending = pending.ok_or(InstallError::UnknownKey)?;
    let certificates = read_certificate_chain(&resource.body).map_err(malformed)?;
    let arrived = ArrivedChain {
        entitlement: id.clone(),
        certificates,
    };
    match installer.chain(arrived, &pending, *now) {
        Ok(svid) => {
            renewals.installed(&id, pending.key_epoch, *now);
            metrics.renewal(true);
            let Lifetime {
                issued_at,
                not_after,
            } = svid.lifetime;
            let serial = svid.serial;
            tracing::info!(spiffe_id = %svid.id, %serial, %issued_at, %not_after, "certificate installed");
            Ok(())
        }
        Err(error) if error.is_not_awaited() => Err(error),
        Err(error) => {
            renewals.failed(&id, *now, draws.next());
            metrics.renewal(false);
            installer.problem(&id, &error.to_string());
            Err(error)
        }
    }
}

impl Installer {
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
        let issue = Issue {
            told: pending.issued.map(|issued| issued.issued_at),
            backdate: held.entitlement.backdate,
            now,
        };
        let svid = accept(arrived.certificates, &verified, &pending.key, issue)?;
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

    /// Installs the node's first credential, from its attestation, which says when it was issued.
    ///
    /// # Errors
    /// As [`Installer::chain`].
    pub(crate) fn attested(
        &mut self,
        node_id: &SpiffeId,
        chain: Vec<CertificateDer<'static>>,
        (key, issued_at): (&Keypair, Timestamp),
        now: Timestamp,
    ) -> Result<(), InstallError> {
        let verified = self.verify(&chain, node_id, now)?;
        let issue = Issue {
            told: Some(issued_at),
            backdate: Duration::ZERO,
            now,
        };
        let svid = Arc::new(accept(chain, &verified, key, issue)?);
        // The control plane has not streamed the node's own right yet.
        self.keep_node(Arc::clone(&svid), FIRST_KEY_EPOCH)?;
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

    /// Puts the node's newest credential into use, also when the disk refuses it: it is written later. The
    /// control plane knows this credential now, and the one before it expires.
    fn keep_node(&mut self, svid: Arc<Svid>, key_epoch: u64) -> Result<(), InstallError> {
        self.present_node(NodeCredential { svid, key_epoch })?;
        self.unsaved.node = true;
        self.save();
        Ok(())
    }
}

/// What is known of when a chain was issued.
#[derive(Clone, Copy, Debug)]
struct Issue {
    /// What the control plane answered to its key, if it has.
    told: Option<Timestamp>,
    /// How far before its issue its NotBefore lies, or less: it is never before that of its issuer.
    backdate: Duration,
    now: Timestamp,
}

/// Joins a verified chain with the key that waited for it.
fn accept(
    chain: Vec<CertificateDer<'static>>,
    verified: &VerifiedSvid,
    key: &Keypair,
    issue: Issue,
) -> Result<Svid, InstallError> {
    if Sha256::digest(key.spki())[..] != verified.spki_sha256 {
        return Err(InstallError::UnknownKey);
    }
    certified_key(chain.clone(), key.pkcs8())?;
    // The chain can overtake the answer to its enrolment; NotBefore then tells when it was issued.
    // NotBefore also tells where the answer contradicts the chain: the renewal must fall into its lifetime.
    let validity = verified.not_before..verified.not_after;
    let issued_at = match issue.told.filter(|at| validity.contains(at)) {
        Some(issued_at) => issued_at,
        // The sum lies in the future under a young issuer; the chain was issued before it arrived.
        None => verified
            .not_before
            .checked_add(issue.backdate)
            .unwrap_or(verified.not_after)
            .min(issue.now)
            .clamp(verified.not_before, verified.not_after),
    };
    Ok(Svid {
        id: verified.id.clone(),
        chain,
        key: key.pkcs8().clone(),
        serial: Serial::from_bytes(&verified.serial)?,
        lifetime: Lifetime {
            issued_at,
            not_after: verified.not_after,
        },
    })
}
