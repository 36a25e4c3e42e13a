//! Entitlements: what the node may hold, what is held for each, and why something is not.
//!
//! Every one is asked for. Absence takes nothing away: only a removal does, and the credential with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_discovery::{Change, Stamp};
use countersign_envoy::SECRET_TYPE;
use countersign_model::{Entitlement, EntitlementId};
use countersign_proto::ENTITLEMENT_TYPE;
use countersign_proto::convert::entitlement::read_resource;
use jiff::Timestamp;

use super::kind::{Intake, Kind, Verdict, Wanted, malformed};
use super::{InstallError, Installer};
use crate::holdings::{Held, Svid};

/// Most entitlements that one node holds.
pub(crate) const MAX_ENTITLEMENTS: usize = 16_384;

/// Who may hold what.
pub(super) struct Entitlements;

impl Kind for Entitlements {
    fn type_url(&self) -> &'static str {
        ENTITLEMENT_TYPE
    }

    fn includes(&self, _: &str, _: &Installer) -> bool {
        true
    }

    fn wanted(&self, _: &Installer) -> Option<Wanted> {
        let name = "*".to_owned();
        Some(Wanted { name, held: None })
    }

    fn take(&self, arrived: &[&Change], intake: &mut Intake<'_>, verdict: &mut Verdict) {
        let (mut present, mut removed) = (Vec::new(), Vec::new());
        for change in arrived {
            match change {
                Change::Present(resource) => match read_resource(resource) {
                    Ok(entitlement) => {
                        present.push(entitlement);
                        verdict.keep(change);
                    }
                    Err(error) => verdict.refuse(resource, malformed(error)),
                },
                Change::Removed { name, .. } => {
                    removed.extend(EntitlementId::parse(name));
                    verdict.keep(change);
                }
            }
        }
        for id in &removed {
            intake.renewals.forget(id);
            tracing::info!(entitlement = %id, "entitlement removed");
            verdict.given_up.push((SECRET_TYPE, id.to_string()));
        }
        let installer = &mut intake.installer;
        if let Err(error) = installer.entitlements(present, &removed, intake.stamp) {
            verdict.kept.clear();
            verdict.refused.push((ENTITLEMENT_TYPE.to_owned(), error));
        }
    }
}

impl Installer {
    /// Adds, changes and drops entitlements. A dropped one takes its credential with it.
    ///
    /// # Errors
    /// More than a node may hold: nothing is added, but what was removed is gone.
    pub(crate) fn entitlements(
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
            // A control plane that does not say its state has not answered.
            let said = Some(stamp).filter(|stamp| *stamp != Stamp::default());
            snapshot.stamp = snapshot.stamp.max(said);
        });
        outcome
    }

    /// Drops a right with its credential once that has expired. Returns whether it had.
    pub(crate) fn drop_expired(&self, id: &EntitlementId, now: Timestamp) -> bool {
        let snapshot = self.holdings.load();
        let held = snapshot.entries.get(id).and_then(|held| held.svid.as_ref());
        let has_expired = held.is_some_and(|svid| svid.lifetime.is_expired(now));
        if has_expired {
            self.holdings.publish(|snapshot| {
                let mut entries = BTreeMap::clone(&snapshot.entries);
                entries.remove(id);
                snapshot.entries = Arc::new(entries);
            });
        }
        has_expired
    }

    /// Notes why an entitlement has no newer credential, for `status`.
    pub(crate) fn problem(&self, id: &EntitlementId, problem: &str) {
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

    pub(super) fn publish_svid(&self, id: &EntitlementId, svid: &Arc<Svid>) {
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
