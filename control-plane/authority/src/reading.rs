//! What is asked of the authority: answered from memory, without waiting for a write.

use std::sync::Arc;

use countersign_discovery::Stamp;
use countersign_fleet::{Event, Hub, NodeRecord};
use countersign_inventory::{Filter, Issued, Lineage};
use countersign_keys::Stores;
use countersign_model::{Entitlement, EntitlementId, SpiffeId, TrustDomain};
use countersign_refusal::Denied;
use countersign_verify::TrustBundle;
use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::series::IssuanceSeries;
use crate::{Authority, AuthorityError, PublishedSvid};

impl Authority {
    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.settings.trust_domain
    }

    /// The state that reads are answered from.
    pub fn stamp(&self) -> Stamp {
        Stamp {
            epoch: self.epoch,
            sequence: self.state.sequence(),
        }
    }

    /// What is counted where certificates are made.
    pub fn metrics(&self) -> &IssuanceSeries {
        &self.metrics
    }

    /// The open streams.
    pub fn hub(&self) -> &Arc<Hub> {
        self.state.hub()
    }

    /// Changes of the bundle and the CAs from now on. A receiver that lags must read everything
    /// again.
    pub fn changes(&self) -> broadcast::Receiver<Event> {
        self.state.events()
    }

    /// The key stores.
    pub fn keys(&self) -> &Stores {
        self.hierarchy.stores()
    }

    /// The trust bundle and its sequence, for those who are served: nobody is before there is one.
    pub fn bundle(&self) -> (Arc<TrustBundle>, u64) {
        let bundle = self.first_bundle();
        bundle.expect("nothing is served before the first bundle")
    }

    /// The trust bundle and its sequence, once there is one: before a root that is not ours was
    /// imported there is none.
    pub fn first_bundle(&self) -> Option<(Arc<TrustBundle>, u64)> {
        self.hierarchy.bundle()
    }

    /// What a node may hold, its own identity included.
    pub fn entitlements(&self, node: &SpiffeId) -> Vec<Arc<Entitlement>> {
        self.state.read().entitlements(node)
    }

    /// One of the entitlements of a node.
    pub fn entitlement(
        &self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
    ) -> Option<Arc<Entitlement>> {
        self.state.read().entitlement(node, entitlement)
    }

    /// Whether a node has an entitlement, without saying what it is.
    pub fn is_entitled(&self, node: &SpiffeId, entitlement: &EntitlementId) -> bool {
        self.state.read().is_entitled(node, entitlement)
    }

    /// Whether this node was once entitled and no longer is: the tombstone of an entitlement.
    pub fn was_removed(&self, node: &SpiffeId, entitlement: &EntitlementId) -> bool {
        self.state
            .read()
            .registry
            .tombstones
            .contains(node, entitlement)
    }

    /// Every entitlement that was taken from this node and is still remembered.
    pub fn removed(&self, node: &SpiffeId) -> Vec<EntitlementId> {
        self.state.read().registry.tombstones.of(node)
    }

    /// The newest SVID of an entitlement.
    pub fn published(
        &self,
        node: &SpiffeId,
        entitlement: &EntitlementId,
    ) -> Option<Arc<PublishedSvid>> {
        self.state.read().published.newest(node, entitlement)
    }

    /// Every node that has attested and was not evicted since, by ID.
    pub fn nodes(&self) -> Vec<NodeRecord> {
        let state = self.state.read();
        let records = state.nodes.iter().map(|(id, attested_at, end)| NodeRecord {
            id: id.clone(),
            attested_at,
            credential_not_after: end,
        });
        let mut records: Vec<_> = records.collect();
        records.sort_by(|a, b| a.id.cmp(&b.id));
        records
    }

    /// How many certificates were logged and are not void.
    pub fn issued_total(&self) -> u64 {
        self.ledger.issued_total()
    }

    /// The same, by what they are.
    pub fn issued_by_kind(&self) -> Issued {
        self.ledger.issued_by_kind()
    }

    /// The lineages that pass a filter, by ID, then node.
    pub fn lineages(&self, filter: &Filter, now: Timestamp) -> Vec<Lineage> {
        self.ledger.lineages(filter, now)
    }

    /// An authenticated caller was refused: it will be in the log.
    pub fn refused(&self, caller: &str, denied: &Denied, now: Timestamp) {
        self.ledger.refused(caller, denied, now);
    }

    /// Whether one more certificate of a node's own identity can be remembered, as things stand:
    /// before anything is given up for it.
    ///
    /// # Errors
    /// A table, or this node's share of it, is at its bound.
    pub fn check_room(&self, node: &SpiffeId) -> Result<(), AuthorityError> {
        self.ledger.check_voids()?;
        let state = self.state.read();
        state.keys.check_room(node, &EntitlementId::node())
    }

    /// How many keys have a certificate that is valid, or is being made.
    pub fn certified_keys(&self) -> usize {
        self.state.read().keys.len()
    }

    /// How many nodes have attested and were not evicted since.
    pub fn attested_count(&self) -> usize {
        self.state.read().nodes.iter().count()
    }

    /// How many nodes are known, those that were evicted included.
    pub fn node_count(&self) -> usize {
        self.state.read().nodes.count()
    }

    /// Whether an ID is that of a known node.
    pub fn is_node(&self, id: &SpiffeId) -> bool {
        self.state.read().nodes.contains(id)
    }

    /// How many registrations there are.
    pub fn registration_count(&self) -> usize {
        self.state.read().registry.count()
    }
}
