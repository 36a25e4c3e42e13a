//! The inventory: what is out there, as a projection of the issuance log.
//!
//! It holds one [`Lineage`] for each identity on each endpoint, not one row for each short-lived
//! certificate: the chain of renewals is in the log, where every entry names the one it renews.
//! Nothing is here that the log does not say, so a lost inventory is read from the log again.

mod filter;
mod lineage;
mod names;
mod snapshot;

use std::collections::HashMap;
use std::sync::Arc;

use countersign_ca::sign::Signed;
use countersign_issue::issuance::Issuance;
use countersign_issue::profile::Profile;
use countersign_model::Registration;
use countersign_model::tables::{FirstEnd, give_back};
use countersign_registry::Account;
use jiff::{SignedDuration, Timestamp};

pub use filter::{Filter, Validity};
pub use lineage::{Certificate, Lineage, LineageId};
use names::Names;
pub use snapshot::{Coverage, OtherLogs, TakenEntry, Void};

/// How long a lineage whose last certificate expired stays listed.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many certificates were issued, by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Issued {
    /// SVIDs of nodes, of workloads, and signed by hand.
    pub svids: u64,
    /// The control plane's own.
    pub servers: u64,
    /// Roots, intermediates and issuing CAs.
    pub cas: u64,
}

impl Issued {
    fn count(&mut self, profile: Profile) {
        *match profile {
            Profile::Svid => &mut self.svids,
            Profile::Server => &mut self.servers,
            Profile::Issuing | Profile::Intermediate | Profile::Root => &mut self.cas,
        } += 1;
    }
}

/// Every lineage, by its id.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Boxed: an empty place in the table costs a pointer, and growing moves no rows.
    lineages: HashMap<LineageId, Box<Lineage>>,
    names: Names,
    issued: Issued,
    first_end: FirstEnd,
}

impl Inventory {
    /// A certificate was given out, or was found in the log with its signature. What is void is not
    /// listed.
    pub fn issued(&mut self, signed: &Signed) {
        self.add(signed.issuance(), Some(signed.sha256()));
    }

    /// A certificate was found in the log; its signature was not looked for.
    pub fn found(&mut self, issuance: &Issuance) {
        self.add(issuance, None);
    }

    /// A registration was made or changed: who answers for its certificates may be another now.
    pub fn registered(&mut self, registration: &Registration) {
        let key = &registration.key;
        let entitlement = key.entitlement_id();
        let id = LineageId::of(
            Profile::Svid,
            key.id.as_str(),
            key.node().map_or("", |node| node.as_str()),
            entitlement.as_str(),
        );
        let account = self.names.account(&Account::of(registration));
        if let Some(lineage) = self.lineages.get_mut(&id) {
            lineage.account = account;
        }
    }

    /// How many certificates the log holds that are not void, as far back as it was read.
    pub fn issued_total(&self) -> u64 {
        let Issued {
            svids,
            servers,
            cas,
        } = self.issued;
        svids + servers + cas
    }

    /// The same, by what they are.
    pub fn issued_by_kind(&self) -> Issued {
        self.issued
    }

    /// How many lineages are listed.
    pub fn count(&self) -> usize {
        self.lineages.len()
    }

    /// One lineage.
    pub fn lineage(&self, id: &LineageId) -> Option<&Lineage> {
        self.lineages.get(id).map(Box::as_ref)
    }

    /// The lineages that pass a filter, by ID, then node.
    pub fn list(&self, filter: &Filter, now: Timestamp) -> Vec<&Lineage> {
        let passing = self.lineages.values().map(Box::as_ref);
        let mut passing: Vec<_> = passing.filter(|it| filter.passes(it, now)).collect();
        passing.sort_by(|a, b| a.place().cmp(&b.place()));
        passing
    }

    /// Forgets lineages that ended long ago.
    pub fn forget_expired(&mut self, now: Timestamp) {
        let Ok(border) = now.checked_sub(REMEMBERED) else {
            return;
        };
        if !self.first_end.is_before(border) {
            return;
        }
        let before = self.lineages.len();
        self.lineages.retain(|_, it| it.newest.not_after >= border);
        let left = self.lineages.values();
        self.first_end.follow(left.map(|it| it.newest.not_after));
        if self.lineages.len() < before {
            self.names.forget_unused();
            give_back(&mut self.lineages);
        }
    }

    /// What is listed already, or older than what is, changes nothing: entries may be read twice.
    fn add(&mut self, issuance: &Issuance, sha256: Option<[u8; 32]>) {
        let id = LineageId::of(
            issuance.profile,
            &issuance.spiffe_id,
            &issuance.node,
            &issuance.entitlement,
        );
        let known = self.lineages.get(&id).map(|it| it.newest.order);
        if known.is_some_and(|newest| issuance.order <= newest) {
            return;
        }
        self.issued.count(issuance.profile);
        self.first_end.note(issuance.not_after);
        let newest = Certificate::of(issuance, sha256, self.names.text(&issuance.issuer));
        let account = self.names.account(&issuance.account);
        let node = self.names.text(&issuance.node);
        let lineage = self.lineages.entry(id).or_insert_with(|| {
            Box::new(Lineage {
                spiffe_id: issuance.spiffe_id.as_str().into(),
                node,
                entitlement: issuance.entitlement.as_str().into(),
                profile: issuance.profile,
                account: Arc::clone(&account),
                since: issuance.issued_at,
                certificates: 0,
                newest: newest.clone(),
            })
        });
        lineage.certificates += 1;
        lineage.newest = newest;
        lineage.account = account;
    }
}

#[cfg(test)]
mod tests;
