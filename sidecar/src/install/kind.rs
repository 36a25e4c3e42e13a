//! The kinds of resources on the control plane's stream: what is asked for, and what becomes of what
//! arrives.
//!
//! A kind is a file beside this one, and a row of [`KINDS`]. It verifies, installs, and says what may be
//! acknowledged. A name that cannot be used harms that name alone.

use countersign_discovery::{Change, Received, Resource, Stamp};
use jiff::Timestamp;

use super::bundle::Bundle;
use super::chain::Chains;
use super::entitlements::Entitlements;
use super::{InstallError, Installer};
use crate::entropy::Draws;
use crate::identity::renew::Renewals;
use crate::telemetry::Metrics;

/// Every kind. What another one needs to be verified comes before it.
pub(crate) const KINDS: &[&dyn Kind] = &[&Entitlements, &Bundle, &Chains];

/// One kind of resource.
pub(crate) trait Kind: Sync {
    /// The type of its resources. Two kinds may share one.
    fn type_url(&self) -> &'static str;

    /// Whether a resource of that type is of this kind, by its name.
    fn includes(&self, name: &str, installer: &Installer) -> bool;

    /// What is asked for from the start and for good; `None` where what is asked for changes.
    fn wanted(&self, installer: &Installer) -> Option<Wanted>;

    /// Verifies and installs what a response says of this kind, which may be nothing.
    fn take(&self, arrived: &[&Change], intake: &mut Intake<'_>, verdict: &mut Verdict);
}

/// A subscription that begins with the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// A name, or `*`.
    pub(crate) name: String,
    /// The version that survived a restart.
    pub(crate) held: Option<String>,
}

/// Where the content of a response goes.
pub(crate) struct Intake<'a> {
    pub(crate) installer: &'a mut Installer,
    pub(crate) renewals: &'a mut Renewals,
    pub(crate) metrics: &'a Metrics,
    pub(crate) draws: &'a mut Draws,
    /// The state of the control plane that the response is of.
    pub(crate) stamp: Stamp,
    pub(crate) now: Timestamp,
}

/// What became of a response.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What is installed, and may be acknowledged.
    pub(crate) kept: Vec<Change>,
    /// What is not, and why.
    pub(crate) refused: Vec<(String, InstallError)>,
    /// What is asked for no more, by type and name.
    pub(crate) given_up: Vec<(&'static str, String)>,
    /// Whether something was installed that may verify what was refused before.
    pub(crate) verifies_more: bool,
}

impl Intake<'_> {
    /// Has each kind take what is its own. What nobody subscribed to is not used.
    pub(crate) fn take(mut self, received: &Received) -> Verdict {
        let mut verdict = Verdict::default();
        let is_of_type = |kind: &&&dyn Kind| kind.type_url() == received.type_url;
        for kind in KINDS.iter().filter(is_of_type) {
            let arrived = received.changes.iter();
            let own = arrived.filter(|change| kind.includes(change.name(), self.installer));
            let own: Vec<_> = own.collect();
            kind.take(&own, &mut self, &mut verdict);
        }
        verdict
    }
}

impl Verdict {
    pub(super) fn keep(&mut self, change: &Change) {
        self.kept.push(change.clone());
    }

    pub(super) fn refuse(&mut self, resource: &Resource, error: InstallError) {
        self.refused.push((resource.name.to_string(), error));
    }
}

pub(super) fn malformed(error: impl std::fmt::Display) -> InstallError {
    InstallError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::install::tests::world;

    #[test]
    fn a_resource_is_of_one_kind() {
        let world = world();
        let names = ["node", "spiffe://example.org", "reg-1", "*", ""];
        let types: BTreeSet<_> = KINDS.iter().map(|kind| kind.type_url()).collect();
        for (type_url, name) in types.iter().flat_map(|it| names.map(|name| (it, name))) {
            let of_type = KINDS.iter().filter(|kind| kind.type_url() == *type_url);
            let kinds = of_type.filter(|kind| kind.includes(name, &world.installer));
            assert_eq!(kinds.count(), 1, "{type_url} {name}");
        }
    }

    #[test]
    fn what_survived_a_restart_is_not_asked_for_again() {
        let world = world();
        let wanted = KINDS
            .iter()
            .filter_map(|kind| kind.wanted(&world.installer));
        let wanted: Vec<_> = wanted.map(|it| (it.name, it.held)).collect();
        let bundle = "spiffe://example.org".to_owned();
        let expected = [("*".to_owned(), None), (bundle, Some("v1".to_owned()))];
        assert_eq!(wanted, expected);
    }
}
