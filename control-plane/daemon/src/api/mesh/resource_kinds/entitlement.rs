//! Entitlements: which identities the node may hold, and on what terms.

use std::sync::Arc;

use countersign_discovery::Standing;
use countersign_fleet::Event;
use countersign_model::EntitlementId;
use countersign_proto::ENTITLEMENT_TYPE;
use countersign_proto::convert::entitlement;

use super::{ResourceKind, Viewer};

/// Named by the entitlement's ID; the version is the hash of the content.
pub(super) struct Entitlements;

impl ResourceKind for Entitlements {
    fn type_url(&self) -> &'static str {
        ENTITLEMENT_TYPE
    }

    fn has_name(&self, name: &str, _: Viewer<'_>) -> bool {
        EntitlementId::parse(name).is_some()
    }

    fn standing(&self, name: &str, viewer: Viewer<'_>) -> Option<Standing> {
        let id = EntitlementId::parse(name)?;
        let held = viewer.authority.entitlement(viewer.node, &id);
        Some(held.map_or_else(
            || gone(&id, viewer),
            |it| Standing::Present(entitlement::resource(&it)),
        ))
    }

    fn names(&self, viewer: Viewer<'_>) -> Vec<Arc<str>> {
        names(viewer)
    }

    fn touched(&self, event: &Event, _: Viewer<'_>, touch: &mut dyn FnMut(&str)) {
        if let Event::Entitlement(_, id) = event {
            touch(id.as_str());
        }
    }
}

/// The entitlements that a node has or had, which are also the names of their chains.
pub(super) fn names(viewer: Viewer<'_>) -> Vec<Arc<str>> {
    let held = viewer.authority.entitlements(viewer.node).into_iter();
    let removed = viewer.authority.removed(viewer.node);
    let ids = held.map(|it| it.id.clone()).chain(removed);
    ids.map(|id| Arc::from(id.as_str())).collect()
}

/// How the name of an entitlement stands that the node does not have. Only what it once had is
/// removed from it: absence is not removal.
pub(super) fn gone(id: &EntitlementId, viewer: Viewer<'_>) -> Standing {
    if viewer.authority.was_removed(viewer.node, id) {
        Standing::Removed
    } else {
        Standing::Absent
    }
}
