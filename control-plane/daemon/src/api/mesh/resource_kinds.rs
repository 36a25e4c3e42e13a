//! The kinds of resources on the stream of a node, one file each.
//!
//! A kind says everything that is particular to it: which names it has, how one stands for a node,
//! which events touch it, and what an acknowledgement of it means. [`super::view`] and
//! [`super::stream`] know none of them by name. A new kind is a file here and a row of [`KINDS`].

mod bundle;
mod chain;
mod entitlement;

use std::sync::Arc;

use countersign_authority::Authority;
use countersign_discovery::Standing;
use countersign_fleet::{Event, Fleet};
use countersign_model::SpiffeId;
use jiff::Timestamp;

/// Every kind that a stream serves.
pub(super) const KINDS: [&dyn ResourceKind; 3] =
    [&entitlement::Entitlements, &chain::Chains, &bundle::Bundle];

/// A kind of resource on the stream of a node.
pub(super) trait ResourceKind: Sync {
    /// The type URL of its resources. Kinds may share one: a name is of one kind at most.
    fn type_url(&self) -> &'static str;

    /// Whether a name is of this kind, whatever there is under it.
    fn has_name(&self, name: &str, viewer: Viewer<'_>) -> bool;

    /// How a name stands for a node; `None` where the name is not of this kind.
    fn standing(&self, name: &str, viewer: Viewer<'_>) -> Option<Standing>;

    /// Every name that is present for a node, or was removed from it.
    fn names(&self, viewer: Viewer<'_>) -> Vec<Arc<str>>;

    /// Calls `touch` with the names that may stand otherwise after this event.
    fn touched(&self, event: &Event, viewer: Viewer<'_>, touch: &mut dyn FnMut(&str));

    /// Takes in that the node has installed a version of a name of this kind. Where nothing depends
    /// on that, nothing is kept.
    fn acknowledged(&self, _name: &str, _version: &str, _viewer: Viewer<'_>, _heard: Heard<'_>) {}
}

/// Where what a node acknowledges is kept, and when it was heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard<'a> {
    /// Where.
    pub(super) fleet: &'a Fleet,
    /// When.
    pub(super) now: Timestamp,
}

/// One node, and the authority that says what it may see. Nothing of another node is reachable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Viewer<'a> {
    /// The authority.
    pub(super) authority: &'a Authority,
    /// The node.
    pub(super) node: &'a SpiffeId,
}

/// The kinds of a type.
pub(super) fn of_type(type_url: &str) -> impl Iterator<Item = &'static dyn ResourceKind> {
    let kinds = KINDS.into_iter();
    kinds.filter(move |kind| kind.type_url() == type_url)
}

/// The kind of a name, where there is one.
pub(super) fn of_name(
    type_url: &str,
    name: &str,
    viewer: Viewer<'_>,
) -> Option<&'static dyn ResourceKind> {
    of_type(type_url).find(|kind| kind.has_name(name, viewer))
}

#[cfg(test)]
mod tests;
