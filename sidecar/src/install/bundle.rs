//! The bundle: which roots are trusted, where they came from, and what may stand in for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_discovery::{Change, Resource};
use countersign_envoy::{SECRET_TYPE, read_trusted_ca};
use countersign_model::EntitlementId;
use countersign_verify::{BundleError, BundleSet, TrustBundle, verify_svid};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::kind::{Intake, Kind, Verdict, Wanted, malformed};
use super::retired::{self, UselessBundle};
use super::{InstallError, Installer};
use crate::state::StoredBundle;

/// The roots of our own trust domain.
pub(super) struct Bundle;

impl Kind for Bundle {
    fn type_url(&self) -> &'static str {
        SECRET_TYPE
    }

    fn includes(&self, name: &str, installer: &Installer) -> bool {
        name == installer.bundle_name.as_str()
    }

    fn wanted(&self, installer: &Installer) -> Option<Wanted> {
        Some(Wanted {
            name: installer.bundle_name.to_string(),
            held: installer.bundle_version().map(str::to_owned),
        })
    }

    /// A bundle is replaced, never removed: without one nobody could be verified.
    fn take(&self, arrived: &[&Change], intake: &mut Intake<'_>, verdict: &mut Verdict) {
        for change in arrived {
            let Change::Present(resource) = change else {
                continue;
            };
            match install(resource, intake.installer) {
                Ok(()) => {
                    verdict.verifies_more = true;
                    verdict.keep(change);
                    renew_what_lost_its_root(intake);
                }
                Err(error) => {
                    intake.installer.bundle_problem(&error.to_string());
                    verdict.refuse(resource, error);
                }
            }
        }
    }
}

fn install(resource: &Resource, installer: &mut Installer) -> Result<(), InstallError> {
    let roots = read_trusted_ca(&resource.body).map_err(malformed)?;
    let (count, version) = (roots.len(), &*resource.version);
    installer.bundle(roots, version)?;
    tracing::info!(roots = count, version, "bundle installed");
    Ok(())
}

/// After a restore of state from before the newest root, no peer takes what it has issued.
fn renew_what_lost_its_root(intake: &mut Intake<'_>) {
    let lost = intake.installer.without_a_root(intake.now);
    for id in &lost {
        intake.renewals.lost_its_root(id);
    }
    if !lost.is_empty() {
        let count = lost.len();
        tracing::warn!(
            count,
            "certificates are of no root of the bundle: renewed at once"
        );
    }
}

impl Installer {
    /// Version of the discovery resource that brought the bundle, if one did.
    pub(crate) fn bundle_version(&self) -> Option<&str> {
        self.bundle.as_ref()?.resource_version.as_deref()
    }

    /// Whether no bundle is held yet, and the configured one has to do.
    pub(crate) fn needs_bootstrap(&self) -> bool {
        self.bundle.is_none()
    }

    /// Trusts the bundle with which the control plane is met for the first time. A bundle that is
    /// already held wins; this one is not stored, and goes with the process.
    pub(crate) fn bootstrap(&mut self, bundle: TrustBundle) {
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
    pub(crate) fn fallback_roots(
        &self,
        configured: &TrustBundle,
    ) -> Result<TrustBundle, UselessBundle> {
        retired::fallback_roots(configured, self.bundle.as_ref())
    }

    /// Installs a bundle: durable first, then trusted, then published.
    ///
    /// # Errors
    /// No root, one that is none, or a disk that does not take it.
    pub(crate) fn bundle(
        &mut self,
        roots: Vec<CertificateDer<'static>>,
        resource_version: &str,
    ) -> Result<(), InstallError> {
        let stored = self.successor(roots, Some(resource_version))?;
        self.state.store_bundle(&stored)?;
        self.trust_in(stored);
        self.unsaved.bundle = false;
        Ok(())
    }

    /// Trusts the bundle of an attestation, also when the disk refuses it: the token that it was had for
    /// cannot be used again.
    ///
    /// # Errors
    /// No root, or one that is none.
    pub(crate) fn attested_bundle(
        &mut self,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<(), InstallError> {
        let stored = self.successor(roots, None)?;
        self.trust_in(stored);
        self.unsaved.bundle = true;
        self.save();
        Ok(())
    }

    /// What is held and valid, and no root of the bundle has issued any more. What has the same
    /// issuers has the same root: one of each is verified.
    pub(crate) fn without_a_root(&self, now: Timestamp) -> Vec<EntitlementId> {
        let (bundles, snapshot) = (self.trust.load(), self.holdings.load());
        let mut judged = BTreeMap::new();
        let mut has_root = |chain: &[CertificateDer<'static>]| {
            // A leaf that a root has issued itself has nothing in common with others.
            let issuers = chain.iter().skip(usize::from(chain.len() > 1));
            let issuers = issuers.map(|der| der.to_vec());
            let verify = || verify_svid(chain, &bundles, &[], now).is_ok();
            *judged
                .entry(issuers.collect::<Vec<_>>())
                .or_insert_with(verify)
        };
        let held = snapshot.entries.iter();
        let held = held.filter_map(|(id, held)| Some((id, held.svid.as_ref()?)));
        held.filter(|(_, svid)| !svid.lifetime.is_expired(now) && !has_root(&svid.chain))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Notes why a newer bundle is not installed, for `status`.
    pub(crate) fn bundle_problem(&self, problem: &str) {
        if self.holdings.load().bundle_problem.as_deref() != Some(problem) {
            self.holdings
                .publish(|snapshot| snapshot.bundle_problem = Some(problem.into()));
        }
    }

    fn successor(
        &self,
        roots: Vec<CertificateDer<'static>>,
        resource_version: Option<&str>,
    ) -> Result<StoredBundle, BundleError> {
        let bundle = Arc::new(TrustBundle::new(self.trust_domain.clone(), roots)?);
        Ok(StoredBundle {
            resource_version: resource_version.map(str::to_owned),
            retired: retired::after(self.bundle.as_ref(), &bundle),
            bundle,
        })
    }

    pub(super) fn trust_in(&mut self, stored: StoredBundle) {
        let bundle = Arc::clone(&stored.bundle);
        self.trust
            .install([Arc::clone(&bundle)].into_iter().collect::<BundleSet>());
        self.bundle = Some(stored);
        self.holdings.publish(|snapshot| {
            snapshot.bundle = Some(bundle);
            snapshot.bundle_problem = None;
        });
    }
}
