//! Certificates that were issued, as the state remembers them beside the uses of their keys.

use std::collections::HashMap;

use countersign_attest::nodes::NodeKey;
use countersign_issue::issuance::Issuance;
use countersign_model::{EntitlementId, SpiffeId};
use countersign_registry::Authorized;
use jiff::Timestamp;

use super::State;

/// The newest manual certificate of each registration.
#[derive(Debug, Default)]
pub(crate) struct ManualRecords(HashMap<EntitlementId, Last>);

#[derive(Debug)]
struct Last {
    /// Log index of the newest.
    index: u64,
    /// The latest NotAfter of all.
    end: Timestamp,
}

impl ManualRecords {
    pub(crate) fn note(&mut self, entitlement: &EntitlementId, issuance: &Issuance) {
        let (index, end) = (issuance.serial.index(), issuance.not_after);
        let last = self.0.entry(entitlement.clone());
        let last = last.or_insert(Last { index, end });
        last.index = last.index.max(index);
        last.end = last.end.max(end);
    }

    /// Log index of the newest.
    fn newest(&self, entitlement: &EntitlementId) -> Option<u64> {
        Some(self.0.get(entitlement)?.index)
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
            let key = NodeKey::new(issuance.serial, issuance.spki_sha256);
            self.nodes.certified(node, key);
        }
        self.nodes.credited(node, issuance.not_after);
    }

    /// Log index of the newest certificate of the same entitlement.
    pub(crate) fn newest(&self, authorized: &Authorized) -> Option<u64> {
        let entitlement = authorized.entitlement();
        match authorized.node() {
            Some(node) => {
                let newest = self.published.newest(node, entitlement)?;
                Some(newest.serial.index())
            }
            None => self.manual.newest(entitlement),
        }
    }
}
