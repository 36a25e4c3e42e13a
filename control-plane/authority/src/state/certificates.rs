//! Certificates that were issued, as the state remembers them beside the uses of their keys.

use std::collections::HashMap;

use countersign_attest::nodes::NodeKey;
use countersign_issue::issuance::Issuance;
use countersign_model::{Coordinate, EntitlementId, Seq, SpiffeId};
use countersign_registry::Authorized;
use jiff::Timestamp;

use super::{Age, State};

/// The newest manual certificate of each registration.
#[derive(Debug, Default)]
pub(crate) struct ManualRecords(HashMap<EntitlementId, Last>);

#[derive(Debug)]
struct Last {
    /// Entry and order of the newest.
    entry: Coordinate,
    order: u64,
    /// The latest NotAfter of all.
    end: Timestamp,
}

impl ManualRecords {
    pub(crate) fn note(&mut self, entitlement: &EntitlementId, issuance: &Issuance) {
        let (entry, order) = (issuance.serial.coordinate(), issuance.order);
        let end = issuance.not_after;
        let last = self.0.entry(entitlement.clone());
        let last = last.or_insert(Last { entry, order, end });
        if order > last.order {
            (last.entry, last.order) = (entry, order);
        }
        last.end = last.end.max(end);
    }

    fn newest(&self, entitlement: &EntitlementId) -> Option<Coordinate> {
        Some(self.0.get(entitlement)?.entry)
    }

    /// The latest NotAfter of all that were issued.
    pub(crate) fn last_end(&self, entitlement: &EntitlementId) -> Option<Timestamp> {
        Some(self.0.get(entitlement)?.end)
    }

    pub(crate) fn forget_expired(&mut self, now: Timestamp) {
        self.0.retain(|_, last| last.end >= now);
    }
}

impl State {
    /// Records that a node holds a certificate, which was issued now or found in the log.
    pub(crate) fn certified(
        &mut self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
        issuance: &Issuance,
    ) {
        if *entitlement == EntitlementId::node() {
            let key = self.node_key(node, issuance);
            self.nodes.certified(node, key);
        }
        self.nodes.credited(node, issuance.not_after);
    }

    fn node_key(&self, node: &SpiffeId, issuance: &Issuance) -> NodeKey {
        NodeKey {
            lineage: self.lineage(node, issuance).unwrap_or_default(),
            order: issuance.order,
            spki_sha256: issuance.spki_sha256,
            serial: issuance.serial,
        }
    }

    /// Records that another control plane logged a certificate for a node, which may be given to it.
    pub(crate) fn logged(
        &mut self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
        issuance: &Issuance,
    ) {
        if *entitlement == EntitlementId::node() {
            let key = self.node_key(node, issuance);
            self.nodes.logged(node, key);
        }
        self.nodes.credited(node, issuance.not_after);
    }

    /// The lineage of a node that a certificate belongs to: one of an older version is told by its time.
    pub(crate) fn lineage(&self, node: &SpiffeId, issuance: &Issuance) -> Option<Seq> {
        let at = || self.nodes.lineage_at(node, issuance.issued_at);
        issuance.attested.or_else(at)
    }

    /// Whether a certificate that was found in the log, without its signature, may be signed: there is the
    /// right to it that it was authorized by, and its key is its holder's.
    pub(crate) fn may_be_signed(
        &self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
        issuance: &Issuance,
        now: Timestamp,
    ) -> bool {
        let lineage = self.lineage(node, issuance);
        let is_of_now =
            !self.nodes.is_earlier(node, lineage) && !self.nodes.is_ended(node, lineage);
        let key = &issuance.spki_sha256;
        let is_holders = self.keys.check_holder(key, node, entitlement, now);
        self.holder(node, entitlement).is_some()
            && self.age(node, issuance) == Age::Present
            && is_of_now
            && is_holders.is_ok()
    }

    /// The newest certificate of the same entitlement.
    pub(crate) fn newest(&self, authorized: &Authorized) -> Option<Coordinate> {
        let entitlement = authorized.entitlement();
        match authorized.node() {
            Some(node) => {
                let newest = self.published.newest(node, entitlement)?;
                Some(newest.serial.coordinate())
            }
            None => self.manual.newest(entitlement),
        }
    }
}
