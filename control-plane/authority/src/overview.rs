//! Nodes with what they may hold and what is published for them, as operators see them.

use std::sync::Arc;

use countersign_attest::nodes::Attested;
use countersign_model::{Criticality, Entitlement, EntitlementId, SpiffeId};
use countersign_refusal::Denied;
use jiff::Timestamp;

use super::state::State;
use super::{Authority, PublishedSvid};

/// One node and everything that it may hold.
#[derive(Clone, Debug)]
pub struct NodeOverview {
    /// Its ID.
    pub id: SpiffeId,
    /// Its newest attestation; `None` for one that never attested.
    pub attested: Option<Attested>,
    /// Since when it is banned, and why.
    pub banned: Option<(Timestamp, String)>,
    /// Its own identity, where it attested, and its registrations.
    pub endpoints: Vec<EndpointOverview>,
}

/// One identity on one node.
#[derive(Clone, Debug)]
pub struct EndpointOverview {
    /// The right.
    pub entitlement: Arc<Entitlement>,
    /// Who answers for it, and how much it matters; `None` for the node's own.
    pub account: Option<(String, Criticality)>,
    /// When the registration last changed what certificates say, where that is known.
    pub raised_at: Option<Timestamp>,
    /// Why it is not issued for any more, and since when where that is known.
    pub refused: Option<(Denied, Option<Timestamp>)>,
    /// The newest certificate.
    pub svid: Option<Arc<PublishedSvid>>,
}

impl Authority {
    /// Every node that attested, is banned, or is named by a registration, by ID.
    pub fn nodes_and_expected(&self) -> Vec<SpiffeId> {
        let state = self.state.read();
        let attested = state.nodes.ids();
        let banned = state.bans.iter().map(|(id, _)| id);
        let ids = attested.chain(banned).chain(state.registry.nodes());
        let mut ids: Vec<_> = ids.cloned().collect();
        drop(state);
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// These nodes at one moment. Whoever wants many asks for some at a time, so that no write waits
    /// for all of them.
    pub fn overview(&self, nodes: &[SpiffeId], now: Timestamp) -> Vec<NodeOverview> {
        let state = self.state.read();
        nodes.iter().map(|id| state.overview(id, now)).collect()
    }

    /// How many registrations are signed by hand.
    pub fn manual_count(&self) -> usize {
        self.state.read().registry.manual_count()
    }
}

impl State {
    fn overview(&self, id: &SpiffeId, now: Timestamp) -> NodeOverview {
        let ban = self.bans.of(id);
        let entitlements = self.entitlements(id).into_iter();
        NodeOverview {
            id: id.clone(),
            attested: self.nodes.attestation(id),
            banned: ban.map(|ban| (ban.since, ban.reason.clone())),
            endpoints: entitlements.map(|it| self.endpoint(id, it, now)).collect(),
        }
    }

    fn endpoint(
        &self,
        node: &SpiffeId,
        entitlement: Arc<Entitlement>,
        now: Timestamp,
    ) -> EndpointOverview {
        let kept = self.registry.find(node, &entitlement.id);
        let registration = kept.map(|kept| &kept.registration);
        let method = self.nodes.stored(node).map(|stored| stored.method);
        let judged = registration.map(|it| (it, self.registry.judge(it, method, now)));
        let refused = judged.and_then(|(it, judged)| {
            let ended = it.expires_at.filter(|end| *end <= now);
            judged.err().map(|denied| (denied, ended))
        });
        EndpointOverview {
            raised_at: kept.and_then(|kept| kept.raised_at),
            account: registration.map(|it| (it.owner.clone(), it.criticality)),
            refused,
            svid: self.published.newest(node, &entitlement.id),
            entitlement,
        }
    }
}

impl EndpointOverview {
    /// When the registration changed what certificates say, where the newest certificate was made before.
    pub fn outdated(&self) -> Option<Option<Timestamp>> {
        let then = self.svid.as_ref().and_then(|svid| svid.key_epoch);
        let is_workload = self.entitlement.id != EntitlementId::node();
        let is_before = then.is_some_and(|then| then < self.entitlement.min_key_epoch);
        (is_workload && is_before).then_some(self.raised_at)
    }
}
