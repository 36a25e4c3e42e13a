//! What one node may see, of every [kind](super::resource_kinds).

use std::sync::Arc;

use countersign_authority::Authority;
use countersign_discovery::{Stamp, Standing, View};
use countersign_model::SpiffeId;

use super::resource_kinds::{self as kinds, Viewer};

/// The authority as one node sees it, looked up name by name: making a view costs nothing, so that
/// a change costs what changed.
#[derive(Debug)]
pub(super) struct NodeView<'a> {
    viewer: Viewer<'a>,
    stamp: Stamp,
}

impl<'a> NodeView<'a> {
    /// The stamp is read first: what is shown is at least as new as it says.
    pub(super) fn of(authority: &'a Authority, node: &'a SpiffeId) -> Self {
        Self {
            viewer: Viewer { authority, node },
            stamp: authority.stamp(),
        }
    }
}

impl View for NodeView<'_> {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn standing(&self, type_url: &str, name: &str) -> Standing {
        let standing = kinds::of_type(type_url).find_map(|kind| kind.standing(name, self.viewer));
        standing.unwrap_or(Standing::Absent)
    }

    fn names(&self, type_url: &str) -> Vec<Arc<str>> {
        let kinds = kinds::of_type(type_url);
        kinds.flat_map(|kind| kind.names(self.viewer)).collect()
    }

    fn serves(&self, type_url: &str) -> bool {
        kinds::of_type(type_url).next().is_some()
    }

    fn is_possible(&self, type_url: &str, name: &str) -> bool {
        kinds::of_name(type_url, name, self.viewer).is_some()
    }
}
