//! What one node may see: its entitlements, the chains issued for them, and the trust bundle.

use std::sync::Arc;

use countersign_discovery::{Resource, Stamp, Standing, View};
use countersign_envoy::SECRET_TYPE;
use countersign_model::{EntitlementId, SpiffeId};
use countersign_proto::ENTITLEMENT_TYPE;
use countersign_proto::convert::entitlement;

use countersign_authority::Authority;

/// The authority as one node sees it, looked up name by name: making a view costs nothing, so that
/// a change costs what changed. Nothing of another node is reachable.
#[derive(Debug)]
pub(super) struct NodeView<'a> {
    authority: &'a Authority,
    node: &'a SpiffeId,
    stamp: Stamp,
}

impl<'a> NodeView<'a> {
    /// The stamp is read first: what is shown is at least as new as it says.
    pub(super) fn of(authority: &'a Authority, node: &'a SpiffeId) -> Self {
        Self {
            authority,
            node,
            stamp: authority.stamp(),
        }
    }

    fn entitlement(&self, name: &str) -> Standing {
        let Some(id) = EntitlementId::parse(name) else {
            return Standing::Absent;
        };
        match self.authority.entitlement(self.node, &id) {
            Some(it) => Standing::Present(entitlement::resource(&it)),
            None => self.gone(&id),
        }
    }

    fn secret(&self, name: &str) -> Standing {
        if name == self.authority.trust_domain().id().as_str() {
            return Standing::Present(self.bundle(name));
        }
        let Some(id) = EntitlementId::parse(name) else {
            return Standing::Absent;
        };
        if !self.authority.is_entitled(self.node, &id) {
            return self.gone(&id);
        }
        match self.authority.published(self.node, &id) {
            Some(svid) => {
                let body = countersign_envoy::certificate_chain(name, &svid.chain());
                let serial = svid.serial.to_string();
                Standing::Present(Resource::versioned(SECRET_TYPE, name, &serial, body))
            }
            None => Standing::Absent,
        }
    }

    fn bundle(&self, name: &str) -> Resource {
        let (bundle, _) = self.authority.bundle();
        let body = countersign_envoy::trusted_ca(name, bundle.roots());
        Resource::versioned(SECRET_TYPE, name, bundle.version(), body)
    }

    /// Only what this node once had is removed from it: absence is not removal.
    fn gone(&self, id: &EntitlementId) -> Standing {
        if self.authority.was_removed(self.node, id) {
            Standing::Removed
        } else {
            Standing::Absent
        }
    }
}

impl View for NodeView<'_> {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn standing(&self, type_url: &str, name: &str) -> Standing {
        match type_url {
            ENTITLEMENT_TYPE => self.entitlement(name),
            SECRET_TYPE => self.secret(name),
            _ => Standing::Absent,
        }
    }

    fn names(&self, type_url: &str) -> Vec<Arc<str>> {
        let held = self.authority.entitlements(self.node).into_iter();
        let removed = self.authority.removed(self.node);
        let ids = held.map(|it| it.id.clone()).chain(removed);
        let ids = ids.map(|id| Arc::from(id.as_str()));
        match type_url {
            ENTITLEMENT_TYPE => ids.collect(),
            SECRET_TYPE => {
                let bundle = Arc::from(self.authority.trust_domain().id().as_str());
                ids.chain([bundle]).collect()
            }
            _ => Vec::new(),
        }
    }

    fn serves(&self, type_url: &str) -> bool {
        matches!(type_url, ENTITLEMENT_TYPE | SECRET_TYPE)
    }

    fn is_possible(&self, type_url: &str, name: &str) -> bool {
        let is_bundle = || name == self.authority.trust_domain().id().as_str();
        EntitlementId::parse(name).is_some() || (type_url == SECRET_TYPE && is_bundle())
    }
}
