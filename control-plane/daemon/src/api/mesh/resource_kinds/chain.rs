//! The certificate chains of X.509-SVIDs, without a key: what was published for an entitlement.

use std::sync::Arc;

use countersign_discovery::{Resource, Standing};
use countersign_envoy::SECRET_TYPE;
use countersign_fleet::Event;
use countersign_model::EntitlementId;

use super::entitlement::{gone, names};
use super::{Heard, ResourceKind, Viewer};

/// Named by the entitlement's ID; the version is the serial of the leaf.
pub(super) struct Chains;

impl ResourceKind for Chains {
    fn type_url(&self) -> &'static str {
        SECRET_TYPE
    }

    fn has_name(&self, name: &str, _: Viewer<'_>) -> bool {
        EntitlementId::parse(name).is_some()
    }

    fn standing(&self, name: &str, viewer: Viewer<'_>) -> Option<Standing> {
        let id = EntitlementId::parse(name)?;
        if !viewer.authority.is_entitled(viewer.node, &id) {
            return Some(gone(&id, viewer));
        }
        let Some(svid) = viewer.authority.published(viewer.node, &id) else {
            return Some(Standing::Absent);
        };
        let body = countersign_envoy::certificate_chain(name, &svid.chain());
        let serial = svid.serial.to_string();
        let resource = Resource::versioned(SECRET_TYPE, name, &serial, body);
        Some(Standing::Present(resource))
    }

    fn names(&self, viewer: Viewer<'_>) -> Vec<Arc<str>> {
        names(viewer)
    }

    /// What takes an entitlement away takes its chain away.
    fn touched(&self, event: &Event, _: Viewer<'_>, touch: &mut dyn FnMut(&str)) {
        if let Event::Entitlement(_, id) | Event::Svid(_, id) = event {
            touch(id.as_str());
        }
    }

    /// Operators see which certificate a node has.
    fn acknowledged(&self, name: &str, version: &str, viewer: Viewer<'_>, heard: Heard<'_>) {
        if let (Some(id), Ok(serial)) = (EntitlementId::parse(name), version.parse()) {
            heard.fleet.svid_acknowledged(viewer.node, id, serial);
        }
    }
}
