//! What a discovery response means for this node: which right, which bundle, which chain.
//!
//! A name that cannot be used harms that name alone. A chain that no key of this process waits
//! for, as after a restart, is no mistake of anybody: it is left out and not held.

use countersign_discovery::{Change, Received, Resource};
use countersign_envoy::{SECRET_TYPE, read_certificate_chain, read_trusted_ca};
use countersign_model::{EntitlementId, Lifetime};
use countersign_proto::ENTITLEMENT_TYPE;
use countersign_proto::convert::entitlement::read_resource;
use jiff::Timestamp;

use crate::identity::renew::Renewals;
use crate::install::{ArrivedChain, InstallError, Installer};
use crate::telemetry::Metrics;

/// Where the content of a response goes.
pub(super) struct Intake<'a> {
    pub(super) installer: &'a mut Installer,
    pub(super) renewals: &'a mut Renewals,
    pub(super) metrics: &'a Metrics,
    /// SDS name of our own trust domain's bundle.
    pub(super) bundle: &'a str,
}

/// What became of a response.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// What is installed, and may be acknowledged.
    pub(super) kept: Vec<Change>,
    /// What is not, and why.
    pub(super) refused: Vec<(String, InstallError)>,
    /// Rights that ended.
    pub(super) removed: Vec<EntitlementId>,
    /// Whether a bundle was installed that may verify what was refused before.
    pub(super) new_bundle: bool,
}

impl Intake<'_> {
    pub(super) fn take(mut self, received: &Received, now: Timestamp) -> Verdict {
        match received.type_url.as_str() {
            ENTITLEMENT_TYPE => self.entitlements(received),
            SECRET_TYPE => self.secrets(received, now),
            // Never subscribed to, so nothing of it is used.
            _ => Verdict::default(),
        }
    }

    fn entitlements(&mut self, received: &Received) -> Verdict {
        let mut verdict = Verdict::default();
        let mut present = Vec::new();
        for change in &received.changes {
            match change {
                Change::Present(resource) => match read_resource(resource) {
                    Ok(entitlement) => {
                        present.push(entitlement);
                        verdict.kept.push(change.clone());
                    }
                    Err(error) => verdict.refuse(resource, error),
                },
                Change::Removed { name, .. } => {
                    verdict.removed.extend(EntitlementId::parse(name));
                    verdict.kept.push(change.clone());
                }
            }
        }
        for id in &verdict.removed {
            self.renewals.forget(id);
            tracing::info!(entitlement = %id, "entitlement removed");
        }
        let done = self
            .installer
            .entitlements(present, &verdict.removed, received.stamp);
        if let Err(error) = done {
            verdict.kept.clear();
            verdict.refused.push((ENTITLEMENT_TYPE.to_owned(), error));
        }
        verdict
    }

    /// Bundles first: a chain of the same response may need the new one.
    fn secrets(&mut self, received: &Received, now: Timestamp) -> Verdict {
        let mut verdict = Verdict::default();
        let (bundles, chains): (Vec<_>, Vec<_>) = received
            .changes
            .iter()
            .partition(|change| change.name() == self.bundle);
        for change in bundles {
            // A bundle is replaced, never removed: without one nobody could be verified.
            let Change::Present(resource) = change else {
                continue;
            };
            match self.bundle(resource) {
                Ok(()) => {
                    verdict.new_bundle = true;
                    verdict.kept.push(change.clone());
                    self.renew_what_lost_its_root(now);
                }
                Err(error) => {
                    self.installer.bundle_problem(&error.to_string());
                    verdict.refused.push((resource.name.to_string(), error));
                }
            }
        }
        for change in chains {
            let Change::Present(resource) = change else {
                verdict.kept.push(change.clone());
                continue;
            };
            match self.chain(resource, now) {
                Ok(()) => verdict.kept.push(change.clone()),
                Err(error) if error.is_of_another_life() => {
                    tracing::debug!(entitlement = &*resource.name, %error, "chain left out");
                }
                Err(error) => verdict.refused.push((resource.name.to_string(), error)),
            }
        }
        verdict
    }

    fn bundle(&mut self, resource: &Resource) -> Result<(), InstallError> {
        let roots = read_trusted_ca(&resource.body).map_err(malformed)?;
        let count = roots.len();
        self.installer.bundle(roots, &resource.version)?;
        tracing::info!(
            roots = count,
            version = &*resource.version,
            "bundle installed"
        );
        Ok(())
    }

    /// After a restore of state from before the newest root, no peer takes what it has issued.
    fn renew_what_lost_its_root(&mut self, now: Timestamp) {
        let lost = self.installer.without_a_root(now);
        for id in &lost {
            self.renewals.lost_its_root(id);
        }
        if !lost.is_empty() {
            let count = lost.len();
            tracing::warn!(
                count,
                "certificates are of no root of the bundle: renewed at once"
            );
        }
    }

    fn chain(&mut self, resource: &Resource, now: Timestamp) -> Result<(), InstallError> {
        let id = EntitlementId::parse(&resource.name).ok_or(InstallError::NotEntitled)?;
        if self.installer.holds(&id, &resource.version) {
            return Ok(());
        }
        let pending = self.renewals.pending(&id).cloned();
        let pending = pending.ok_or(InstallError::UnknownKey)?;
        let certificates = read_certificate_chain(&resource.body).map_err(malformed)?;
        let arrived = ArrivedChain {
            entitlement: id.clone(),
            certificates,
        };
        match self.installer.chain(arrived, &pending, now) {
            Ok(svid) => {
                self.renewals.installed(&id, pending.key_epoch, now);
                self.metrics.renewal(true);
                let (
                    Lifetime {
                        issued_at,
                        not_after,
                    },
                    serial,
                ) = (svid.lifetime, svid.serial);
                tracing::info!(spiffe_id = %svid.id, %serial, %issued_at, %not_after, "certificate installed");
                Ok(())
            }
            Err(error) if error.is_of_another_life() => Err(error),
            Err(error) => {
                self.renewals.failed(&id, now, fastrand::f64());
                self.metrics.renewal(false);
                self.installer.problem(&id, &error.to_string());
                Err(error)
            }
        }
    }
}

impl Verdict {
    fn refuse(&mut self, resource: &Resource, error: impl std::fmt::Display) {
        self.refused
            .push((resource.name.to_string(), malformed(error)));
    }
}

fn malformed(error: impl std::fmt::Display) -> InstallError {
    InstallError::Malformed(error.to_string())
}
