//! What the authority knows, in memory: every part is rebuilt from the store and the log at start.

mod acknowledged;
mod certificates;
mod change;
mod replicas;
mod shared;
mod streams;
mod unsigned;
mod waivers;

use std::collections::HashMap;
use std::sync::Arc;

use countersign_attest::attestor::Known;
use countersign_attest::bans::Bans;
use countersign_attest::join_token::Tokens;
use countersign_attest::nodes::Nodes;
use countersign_issue::issuance::Issuance;
use countersign_model::tables::{FirstEnd, give_back};
use countersign_model::{Entitlement, EntitlementId, EntitlementKind, Seq, SpiffeId};
use countersign_registry::{Defaults, Policy, Registry};
use jiff::Timestamp;

use super::PublishedSvid;
use super::doubts::Doubts;
use super::key_uses::Keys;
use super::published::Holder;
use acknowledged::AcknowledgedRows;
use certificates::ManualRecords;
pub(super) use change::Change;
pub(super) use replicas::Replicas;
pub use replicas::{Heartbeat, MAX_REPLICAS, Replica};
pub(super) use shared::SharedState;
use streams::StreamRows;
pub(super) use unsigned::Unsigned;
pub use waivers::Waiver;
use waivers::Waivers;

/// Registrations, nodes, tokens, published SVIDs and the keys that they certify.
#[derive(Debug)]
pub(super) struct State {
    pub(super) registry: Registry,
    pub(super) nodes: Nodes,
    pub(super) tokens: Tokens,
    pub(super) published: Published,
    pub(super) keys: Keys,
    pub(super) manual: ManualRecords,
    pub(super) bans: Bans,
    pub(super) waivers: Waivers,
    pub(super) replicas: Replicas,
    pub(super) acknowledged: AcknowledgedRows,
    pub(super) streams: StreamRows,
    /// The newest commit of an act of an operator.
    pub(super) acts: Option<Seq>,
    /// Certificates that other replicas logged and that are not known to be signed yet.
    pub(super) unsigned: Unsigned,
    /// What tells that this state was put back from a copy.
    pub(super) doubts: Doubts,
}

impl State {
    pub(super) fn new(defaults: Defaults, policy: Policy) -> Self {
        Self {
            registry: Registry::new(defaults, policy),
            nodes: Nodes::default(),
            tokens: Tokens::default(),
            published: Published::default(),
            keys: Keys::default(),
            manual: ManualRecords::default(),
            bans: Bans::default(),
            waivers: Waivers::default(),
            replicas: Replicas::default(),
            acknowledged: AcknowledgedRows::default(),
            streams: StreamRows::default(),
            acts: None,
            unsigned: Unsigned::default(),
            doubts: Doubts::default(),
        }
    }

    /// What attestors judge by.
    pub(super) fn known(&self) -> Known<'_> {
        Known {
            tokens: &self.tokens,
        }
    }

    /// What a node may hold; its own identity once it has attested.
    pub(super) fn entitlements(&self, node: &SpiffeId) -> Vec<Arc<Entitlement>> {
        let own = self.own_entitlement(node).into_iter();
        own.chain(self.registry.entitlements(node).map(Arc::new))
            .collect()
    }

    /// One entitlement of a node, without a look at the others.
    pub(super) fn entitlement(
        &self,
        node: &SpiffeId,
        id: &EntitlementId,
    ) -> Option<Arc<Entitlement>> {
        if *id == EntitlementId::node() {
            self.own_entitlement(node)
        } else {
            self.registry.entitlement(node, id).map(Arc::new)
        }
    }

    /// Whether a node has an entitlement.
    pub(super) fn is_entitled(&self, node: &SpiffeId, id: &EntitlementId) -> bool {
        if *id == EntitlementId::node() {
            self.nodes.contains(node)
        } else {
            self.registry.held(node, id).is_some()
        }
    }

    fn own_entitlement(&self, node: &SpiffeId) -> Option<Arc<Entitlement>> {
        let created_at = self.nodes.attested_at(node)?;
        let defaults = self.registry.defaults();
        Some(Arc::new(Entitlement {
            id: EntitlementId::node(),
            spiffe_id: node.clone(),
            kind: EntitlementKind::Node,
            lifetime: defaults.ttl,
            renew: defaults.renew,
            min_key_epoch: 0,
            hint: None,
            is_default: false,
            created_at,
            created_seq: 0,
            backdate: defaults.backdate,
        }))
    }

    /// Who holds an entitlement at present.
    pub(super) fn holder(&self, node: &SpiffeId, entitlement: &EntitlementId) -> Option<Holder> {
        if *entitlement == EntitlementId::node() {
            let node = self.nodes.known(node)?;
            return Some(Holder {
                node: node.clone(),
                entitlement: entitlement.clone(),
                id: node.clone(),
            });
        }
        let (entitlement, kept) = self.registry.held(node, entitlement)?;
        Some(Holder {
            node: kept.registration.key.node()?.clone(),
            entitlement: entitlement.clone(),
            id: kept.registration.key.id.clone(),
        })
    }

    /// Whether a certificate was made for the registration that there is, and not for one of the same key that was
    /// removed before: told by the order of commits, which key epochs are. Of a node's own identity its lineage tells.
    ///
    /// A registration of before level 3 does not say with which key epoch it began. One that came back says another
    /// than its certificates of before; then the time of the machine decides.
    pub(super) fn is_of_registration(&self, node: &SpiffeId, issuance: &Issuance) -> bool {
        let entitlement = EntitlementId::parse(&issuance.entitlement);
        let Some((_, kept)) = entitlement.and_then(|it| self.registry.held(node, &it)) else {
            return true;
        };
        match kept.began.zip(issuance.key_epoch) {
            Some((began, then)) => then >= began,
            None => {
                let is_older = kept.registration.created_at <= issuance.issued_at;
                is_older || self.age(node, issuance) == Age::Present
            }
        }
    }

    /// How a certificate that was found in the log stands to its registration as it is now.
    pub(super) fn age(&self, node: &SpiffeId, issuance: &Issuance) -> Age {
        let entitlement = EntitlementId::parse(&issuance.entitlement);
        let held = entitlement.and_then(|it| Some(self.registry.held(node, &it)?.1.key_epoch));
        match held.zip(issuance.key_epoch) {
            Some((present, then)) if then < present => Age::Before,
            Some((present, then)) if then > present => Age::TakenBack,
            _ => Age::Present,
        }
    }

    /// Whether an ID belongs to a node, or soon will.
    pub(super) fn is_node(&self, id: &SpiffeId) -> bool {
        self.nodes.contains(id) || self.tokens.expects(id) || self.registry.is_node(id)
    }
}

/// How a certificate stands to the registration that it was authorized for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It says what the registration says now.
    Present,
    /// What it says changed since.
    Before,
    /// It was authorized for a change that a restore took back.
    TakenBack,
}

/// The newest SVID of every entitlement, by node.
#[derive(Debug, Default)]
pub(super) struct Published {
    by_node: HashMap<SpiffeId, HashMap<EntitlementId, Newest>>,
    first_end: FirstEnd,
}

#[derive(Debug)]
struct Newest {
    /// `None` once its node was evicted.
    svid: Option<Arc<PublishedSvid>>,
    /// The latest NotAfter of all that were issued, also of an older one.
    last_end: Timestamp,
}

impl Published {
    /// Keeps an SVID if it is newer than the one that is there.
    pub(super) fn offer(&mut self, svid: Arc<PublishedSvid>) {
        let entry = self.entry(&svid.node, &svid.entitlement, svid.lifetime.not_after);
        let newest = entry.svid.as_ref().map(|it| it.order);
        if newest.is_none_or(|newest| newest < svid.order) {
            entry.svid = Some(svid);
        }
    }

    /// Something was issued for an entitlement that nobody is shown any more.
    pub(super) fn note_end(&mut self, node: &SpiffeId, id: &EntitlementId, end: Timestamp) {
        self.entry(node, id, end);
    }

    /// Nothing that was issued to a node so far is shown any more.
    pub(super) fn withdraw(&mut self, node: &SpiffeId) {
        let of_node = self.by_node.get_mut(node).into_iter().flatten();
        of_node.for_each(|(_, newest)| newest.svid = None);
    }

    fn entry(&mut self, node: &SpiffeId, id: &EntitlementId, end: Timestamp) -> &mut Newest {
        self.first_end.note(end);
        let of_node = self.by_node.entry(node.clone()).or_default();
        let entry = of_node.entry(id.clone()).or_insert(Newest {
            svid: None,
            last_end: end,
        });
        entry.last_end = entry.last_end.max(end);
        entry
    }

    pub(super) fn newest(&self, node: &SpiffeId, id: &EntitlementId) -> Option<Arc<PublishedSvid>> {
        self.by_node.get(node)?.get(id)?.svid.clone()
    }

    /// Until when something that was issued for the entitlement is valid.
    pub(super) fn last_end(&self, node: &SpiffeId, id: &EntitlementId) -> Option<Timestamp> {
        Some(self.by_node.get(node)?.get(id)?.last_end)
    }

    pub(super) fn remove(&mut self, node: &SpiffeId, id: &EntitlementId) {
        if let Some(of_node) = self.by_node.get_mut(node) {
            of_node.remove(id);
        }
    }

    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        if !self.first_end.is_before(now) {
            return;
        }
        for of_node in self.by_node.values_mut() {
            of_node.retain(|_, newest| newest.last_end >= now);
            give_back(of_node);
        }
        self.by_node.retain(|_, of_node| !of_node.is_empty());
        give_back(&mut self.by_node);
        let left = self.by_node.values().flat_map(HashMap::values);
        self.first_end.follow(left.map(|newest| newest.last_end));
    }

    /// Of how many entitlements there is one.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_node.values().map(HashMap::len).sum()
    }
}
