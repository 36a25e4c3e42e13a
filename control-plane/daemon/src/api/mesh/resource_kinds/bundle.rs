//! The trust bundle of the own trust domain.

use std::sync::Arc;

use countersign_discovery::{Resource, Standing};
use countersign_envoy::SECRET_TYPE;
use countersign_fleet::Event;
use countersign_model::SpiffeId;

use super::{Heard, ResourceKind, Viewer};

/// Named `spiffe://<trust domain>`; the version is the hash of the roots.
pub(super) struct Bundle;

impl ResourceKind for Bundle {
    fn type_url(&self) -> &'static str {
        SECRET_TYPE
    }

    fn has_name(&self, name: &str, viewer: Viewer<'_>) -> bool {
        name == own_name(viewer).as_str()
    }

    fn standing(&self, name: &str, viewer: Viewer<'_>) -> Option<Standing> {
        if !self.has_name(name, viewer) {
            return None;
        }
        let (bundle, _) = viewer.authority.bundle();
        let body = countersign_envoy::trusted_ca(name, bundle.roots());
        let resource = Resource::versioned(SECRET_TYPE, name, bundle.version(), body);
        Some(Standing::Present(resource))
    }

    fn names(&self, viewer: Viewer<'_>) -> Vec<Arc<str>> {
        vec![Arc::from(own_name(viewer).as_str())]
    }

    fn touched(&self, event: &Event, viewer: Viewer<'_>, touch: &mut dyn FnMut(&str)) {
        if *event == Event::Bundle {
            touch(own_name(viewer).as_str());
        }
    }

    /// The proof of arrival that opens the gate of a root rotation.
    fn acknowledged(&self, _: &str, version: &str, viewer: Viewer<'_>, heard: Heard<'_>) {
        heard
            .fleet
            .bundle_acknowledged(viewer.node, version, heard.now);
    }
}

fn own_name(viewer: Viewer<'_>) -> SpiffeId {
    viewer.authority.trust_domain().id()
}
