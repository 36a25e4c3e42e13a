//! The decision: may this node hold this identity, and how.

use std::time::Duration;

use countersign_model::{EntitlementId, SpiffeId};

use super::Registry;
use crate::attest::AttestedNode;
use crate::authority::Denied;

/// A registration says that this node may hold this identity. Only [`authorize`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorized {
    node: SpiffeId,
    entitlement: EntitlementId,
    id: SpiffeId,
    dns: Vec<String>,
    ttl: Duration,
    key_epoch: u64,
}

impl Authorized {
    pub(crate) fn node(&self) -> &SpiffeId {
        &self.node
    }

    pub(crate) fn entitlement(&self) -> &EntitlementId {
        &self.entitlement
    }

    pub(crate) fn id(&self) -> &SpiffeId {
        &self.id
    }

    pub(crate) fn dns(&self) -> &[String] {
        &self.dns
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Certificates from before this commit were made for another registration.
    pub(crate) fn key_epoch(&self) -> u64 {
        self.key_epoch
    }
}

/// Whether the node may hold the entitlement. Names and lifetime come from the registration; a
/// node's own identity from its attestation.
pub(crate) fn authorize(
    registry: &Registry,
    node: &AttestedNode,
    entitlement: &EntitlementId,
) -> Result<Authorized, Denied> {
    let defaults = registry.defaults();
    if *entitlement == EntitlementId::node() {
        return Ok(Authorized {
            node: node.id().clone(),
            entitlement: entitlement.clone(),
            id: node.id().clone(),
            dns: Vec::new(),
            ttl: defaults.ttl,
            key_epoch: 0,
        });
    }
    let kept = registry
        .find(node.id(), entitlement)
        .ok_or_else(|| Denied {
            code: "not_entitled",
            message: "this node has no such entitlement".to_owned(),
            remedy: "register the identity for this node",
        })?;
    let registration = &kept.registration;
    Ok(Authorized {
        node: node.id().clone(),
        entitlement: entitlement.clone(),
        id: registration.key.id.clone(),
        dns: registration.dns.clone(),
        ttl: registration.x509_ttl.unwrap_or(defaults.ttl),
        key_epoch: kept.key_epoch,
    })
}
