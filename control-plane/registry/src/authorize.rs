//! The decision: may this identity be held so, now, and how.

use std::time::Duration;

use countersign_attest::{AttestedNode, Method};
use countersign_model::{EntitlementId, Registration, Seq, SpiffeId};
use countersign_refusal::Denied;
use jiff::Timestamp;

use super::{Account, Kept, Registry, rules};

/// A node asks for what no registration gives it.
pub const NOT_ENTITLED: &str = "not_entitled";

/// A registration says that this identity may be held by this node, or be signed by hand. Only
/// [`authorize`] and `authorize_manual` make one.
#[derive(Debug, PartialEq, Eq)]
pub struct Authorized {
    node: Option<SpiffeId>,
    entitlement: EntitlementId,
    id: SpiffeId,
    dns: Vec<String>,
    ttl: Duration,
    key_epoch: u64,
    attested: Option<Seq>,
    account: Account,
}

impl Authorized {
    /// The node that holds the key; none where it is signed by hand.
    pub fn node(&self) -> Option<&SpiffeId> {
        self.node.as_ref()
    }

    /// Under which entitlement it is held.
    pub fn entitlement(&self) -> &EntitlementId {
        &self.entitlement
    }

    /// The identity.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Its DNS names.
    pub fn dns(&self) -> &[String] {
        &self.dns
    }

    /// Longest lifetime from now on; the end of the registration is counted in.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Who answers for the identity.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The commit that last changed what the registration has certificates say.
    pub fn key_epoch(&self) -> u64 {
        self.key_epoch
    }

    /// The attestation that the node was recognised by; none where no node holds the key.
    pub fn attested(&self) -> Option<Seq> {
        self.attested
    }

    /// Whether a certificate that was authorized before says what is allowed now: the registration
    /// may have changed while it was signed.
    pub fn still_allows(&self, key_epoch: Option<u64>) -> Result<(), Denied> {
        if key_epoch.is_none_or(|epoch| epoch == self.key_epoch) {
            return Ok(());
        }
        Err(Denied {
            code: "key_superseded",
            message: "the registration changed while the certificate was made".to_owned(),
            remedy: "enrol a fresh key",
        })
    }

    fn registered(
        kept: &Kept,
        entitlement: EntitlementId,
        ttl: Duration,
        attested: Option<Seq>,
    ) -> Self {
        let registration = &kept.registration;
        Self {
            node: registration.key.node().cloned(),
            entitlement,
            id: registration.key.id.clone(),
            dns: registration.dns.clone(),
            ttl,
            key_epoch: kept.key_epoch,
            attested,
            account: Account::of(registration),
        }
    }
}

/// Whether the node may hold the entitlement. Names and lifetime come from the registration; a
/// node's own identity from its attestation.
pub fn authorize(
    registry: &Registry,
    node: &AttestedNode,
    entitlement: &EntitlementId,
    now: Timestamp,
) -> Result<Authorized, Denied> {
    if *entitlement == EntitlementId::node() {
        return Ok(Authorized {
            node: Some(node.id().clone()),
            entitlement: entitlement.clone(),
            id: node.id().clone(),
            dns: Vec::new(),
            ttl: registry.defaults().ttl,
            key_epoch: 0,
            attested: Some(node.lineage()),
            account: Account::default(),
        });
    }
    let (id, kept) = registry
        .held(node.id(), entitlement)
        .ok_or_else(|| Denied {
            code: NOT_ENTITLED,
            message: "this node has no such entitlement".to_owned(),
            remedy: "register the identity for this node",
        })?;
    let ttl = registry.judge(&kept.registration, Some(node.method()), now)?;
    // The registry's own text: what is made of it shares that.
    let attested = Some(node.lineage());
    Ok(Authorized::registered(kept, id.clone(), ttl, attested))
}

/// Whether the ID may be signed by hand.
pub fn authorize_manual(
    registry: &Registry,
    id: &SpiffeId,
    now: Timestamp,
) -> Result<Authorized, Denied> {
    let kept = registry.find_manual(id).ok_or_else(|| Denied {
        code: "not_by_hand",
        message: format!("{id} is not registered to be signed by hand"),
        remedy: "register it with --by-hand",
    })?;
    let ttl = registry.judge(&kept.registration, None, now)?;
    let entitlement = kept.registration.key.entitlement_id();
    Ok(Authorized::registered(kept, entitlement, ttl, None))
}

impl Registry {
    /// The lifetime of a certificate that is issued for the registration now, by policy and by
    /// its end. Without an attestor: whether it can be issued for at all.
    pub fn judge(
        &self,
        registration: &Registration,
        attestor: Option<Method>,
        now: Timestamp,
    ) -> Result<Duration, Denied> {
        let ttl = registration.x509_ttl.unwrap_or(self.defaults.ttl);
        self.policy.judge(registration, attestor, ttl, now)?;
        rules::remaining(registration, ttl, now)
    }
}
