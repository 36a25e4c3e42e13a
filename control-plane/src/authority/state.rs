//! What the authority knows, in memory: every part is rebuilt from the store at start.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_model::{Entitlement, EntitlementId, EntitlementKind, SpiffeId};
use jiff::Timestamp;

use super::by_hand::SignedByHand;
use super::{Denied, PublishedSvid};
use crate::attest::join_token::{KnownToken, TokenHash};
use crate::attest::nodes::Nodes;
use crate::registry::{Authorized, Defaults, Policy, Registry};

/// Registrations, nodes, tokens, published SVIDs and the keys that they certify.
#[derive(Debug)]
pub(super) struct State {
    pub(super) registry: Registry,
    pub(super) nodes: Nodes,
    pub(super) tokens: HashMap<TokenHash, KnownToken>,
    /// Nodes that a remembered token is for, and how many tokens.
    pub(super) expected_nodes: HashMap<SpiffeId, usize>,
    pub(super) published: Published,
    pub(super) keys: Keys,
    pub(super) signed_by_hand: SignedByHand,
}

impl State {
    pub(super) fn new(defaults: Defaults, policy: Policy) -> Self {
        Self {
            registry: Registry::new(defaults, policy),
            nodes: Nodes::default(),
            tokens: HashMap::new(),
            expected_nodes: HashMap::new(),
            published: Published::default(),
            keys: Keys::default(),
            signed_by_hand: SignedByHand::default(),
        }
    }

    /// What a node may hold; its own identity once it has attested.
    pub(super) fn entitlements(&self, node: &SpiffeId) -> Vec<Arc<Entitlement>> {
        let own = self.own_entitlement(node).into_iter();
        own.chain(self.registry.entitlements(node).cloned())
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
            self.registry.entitlement(node, id).cloned()
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
        }))
    }

    /// Whether an ID belongs to a node, or soon will.
    pub(super) fn is_node(&self, id: &SpiffeId) -> bool {
        self.nodes.contains(id) || self.expected_nodes.contains_key(id) || self.registry.is_node(id)
    }

    pub(super) fn remember_token(&mut self, hash: TokenHash, known: KnownToken) {
        let node = known.token.node.clone();
        if self.tokens.insert(hash, known).is_none() {
            *self.expected_nodes.entry(node).or_default() += 1;
        }
    }

    pub(super) fn forget_token(&mut self, hash: &TokenHash) {
        let Some(known) = self.tokens.remove(hash) else {
            return;
        };
        if let Some(count) = self.expected_nodes.get_mut(&known.token.node) {
            *count -= 1;
            if *count == 0 {
                self.expected_nodes.remove(&known.token.node);
            }
        }
    }
}

/// The newest SVID of every entitlement, by node.
#[derive(Debug, Default)]
pub(super) struct Published(HashMap<SpiffeId, HashMap<EntitlementId, Newest>>);

#[derive(Debug)]
struct Newest {
    svid: Arc<PublishedSvid>,
    /// The latest NotAfter of all that were issued, also of an older one.
    last_end: Timestamp,
}

impl Published {
    /// Keeps an SVID if it is newer than the one that is there.
    pub(super) fn offer(&mut self, svid: Arc<PublishedSvid>) {
        let end = svid.lifetime.not_after;
        let of_node = self.0.entry(svid.node.clone()).or_default();
        let entry = of_node
            .entry(svid.entitlement.clone())
            .or_insert_with(|| Newest {
                svid: svid.clone(),
                last_end: end,
            });
        entry.last_end = entry.last_end.max(end);
        if svid.serial.index() > entry.svid.serial.index() {
            entry.svid = svid;
        }
    }

    pub(super) fn newest(&self, node: &SpiffeId, id: &EntitlementId) -> Option<Arc<PublishedSvid>> {
        Some(self.0.get(node)?.get(id)?.svid.clone())
    }

    /// Until when something that was issued for the entitlement is valid.
    pub(super) fn last_end(&self, node: &SpiffeId, id: &EntitlementId) -> Option<Timestamp> {
        Some(self.0.get(node)?.get(id)?.last_end)
    }

    pub(super) fn remove(&mut self, node: &SpiffeId, id: &EntitlementId) {
        if let Some(of_node) = self.0.get_mut(node) {
            of_node.remove(id);
        }
    }

    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        for of_node in self.0.values_mut() {
            of_node.retain(|_, newest| newest.last_end >= now);
        }
        self.0.retain(|_, of_node| !of_node.is_empty());
    }
}

/// Which key is certified for what, while a certificate for it is valid: one key, one
/// entitlement of one node.
#[derive(Debug, Default)]
pub(super) struct Keys(HashMap<[u8; 32], KeyUse>);

/// What a key is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyUse {
    /// None where it was signed by hand.
    pub(super) node: Option<SpiffeId>,
    pub(super) entitlement: EntitlementId,
    /// Index of its log entry and end of its certificate; `None` while it is being issued.
    pub(super) issued: Option<(u64, Timestamp)>,
}

impl Keys {
    /// Claims a key for an authorized enrolment, or finds what it was enrolled for already.
    pub(super) fn claim(
        &mut self,
        spki_sha256: [u8; 32],
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<Option<u64>, Denied> {
        let live = self.0.get(&spki_sha256).filter(|used| {
            let ended = used.issued.is_some_and(|(_, end)| end <= now);
            !ended
        });
        let Some(used) = live else {
            let claimed = KeyUse {
                node: authorized.node().cloned(),
                entitlement: authorized.entitlement().clone(),
                issued: None,
            };
            self.0.insert(spki_sha256, claimed);
            return Ok(None);
        };
        let same = used.node.as_ref() == authorized.node()
            && used.entitlement == *authorized.entitlement();
        if same {
            return Ok(used.issued.map(|(index, _)| index));
        }
        Err(Denied {
            code: "key_in_use",
            message: "this key is certified for another identity or entitlement".to_owned(),
            remedy: "make a fresh key for every entitlement and every renewal",
        })
    }

    /// The certificate for a claimed key was issued. The claim shares its texts with the
    /// registration, so it is what stays.
    pub(super) fn issued(&mut self, spki_sha256: [u8; 32], used: KeyUse) {
        let claimed = self.0.entry(spki_sha256).or_insert_with(|| used.clone());
        if claimed.node == used.node && claimed.entitlement == used.entitlement {
            claimed.issued = used.issued;
        } else {
            *claimed = used;
        }
    }

    /// Gives up a claim that came to nothing.
    pub(super) fn release(&mut self, spki_sha256: &[u8; 32]) {
        if self
            .0
            .get(spki_sha256)
            .is_some_and(|used| used.issued.is_none())
        {
            self.0.remove(spki_sha256);
        }
    }

    /// Whether a certificate is being issued.
    pub(super) fn is_issuing(&self) -> bool {
        self.0.values().any(|used| used.issued.is_none())
    }

    /// The lowest log index of a certificate that is valid.
    pub(super) fn oldest_live(&self, now: Timestamp) -> Option<u64> {
        let live = self.0.values().filter_map(|used| used.issued);
        live.filter(|(_, end)| *end >= now)
            .map(|(index, _)| index)
            .min()
    }

    pub(super) fn forget_expired(&mut self, now: Timestamp) {
        self.0
            .retain(|_, used| used.issued.is_none_or(|(_, end)| end >= now));
    }
}
