//! Entitlements: what the control plane tells a node that it may hold.
//!
//! An entitlement travels as a discovery resource named by its [`EntitlementId`]; the SVID chain
//! for it is another resource of the same name and another type. The node's own credential is an
//! entitlement as well, so that one schedule and one path renew everything.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;

use crate::registration::Hint;
use crate::schedule::{Lifetime, RenewalWindow};
use crate::selector::{Claimed, SelectorSet};
use crate::serial::Serial;
use crate::spiffe_id::SpiffeId;

const NODE: &str = "node";

/// The name of an entitlement, unique within one node. Clones share the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntitlementId(Arc<str>);

impl EntitlementId {
    /// The entitlement of every node to its own identity.
    pub fn node() -> Self {
        static SHARED: LazyLock<EntitlementId> = LazyLock::new(|| EntitlementId(NODE.into()));
        SHARED.clone()
    }

    /// The entitlement of a registration, from the hash of its key.
    pub(crate) fn registered(hash: &str) -> Self {
        Self(format!("reg-{hash}").into())
    }

    /// Reads a name from the wire: `node`, or `reg-` and 32 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let registered = text
            .strip_prefix("reg-")
            .is_some_and(|h| h.len() == 32 && h.bytes().all(hex));
        (text == NODE || registered).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntitlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EntitlementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom the identity is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntitlementKind {
    /// The node itself: never handed to a caller.
    Node,
    /// A workload: handed to callers that satisfy *all* selectors.
    Workload(SelectorSet),
}

/// One identity that a node may hold, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Entitlement {
    /// Its name on this node.
    pub id: EntitlementId,
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// Whom it is for.
    pub kind: EntitlementKind,
    /// Lifetime of a certificate issued now, whole seconds.
    pub lifetime: Duration,
    /// When the sidecar renews.
    pub renew: RenewalWindow,
    /// How far NotBefore of a certificate lies before its issue, from which its lifetime counts.
    pub backdate: Duration,
    /// The key epoch: which state of the registration keys are made for. A key of any other is
    /// replaced at once, also one of a higher epoch, for epochs go back with a restore.
    pub min_key_epoch: u64,
    /// The name a workload may tell this identity by.
    pub hint: Option<Hint>,
    /// Whether the registration is marked as the default.
    pub is_default: bool,
    /// When it was registered; the oldest is the default where none is marked.
    pub created_at: Timestamp,
    /// Breaks ties between equal `created_at`.
    pub created_seq: u64,
}

impl Entitlement {
    /// Whether a caller with these attributes may be handed this identity.
    pub fn admits(&self, caller: &Claimed) -> bool {
        match &self.kind {
            EntitlementKind::Node => false,
            EntitlementKind::Workload(selectors) => selectors.is_satisfied_by(caller),
        }
    }

    /// The moment at which a credential of this entitlement is renewed. It is drawn once for each
    /// credential, from its serial, so that node and control plane name the same.
    pub fn renewal(&self, serial: &Serial, lifetime: &Lifetime) -> Timestamp {
        self.renew.moment(lifetime, serial.draw())
    }

    /// Whether it is the node's own.
    pub fn is_node(&self) -> bool {
        self.id == EntitlementId::node()
    }

    /// Sorts as they are enrolled: the node's own first, for without it nothing else can be, then by
    /// [rank](Self::rank).
    pub fn enrolment_order(&self) -> (bool, (bool, Timestamp, u64, &EntitlementId)) {
        (!self.is_node(), self.rank())
    }

    /// Sorts the default identity first: the marked ones, then by age.
    pub fn rank(&self) -> (bool, Timestamp, u64, &EntitlementId) {
        (
            !self.is_default,
            self.created_at,
            self.created_seq,
            &self.id,
        )
    }
}

/// The entitlements of one node that are enrolled before anybody asks for them, where `ahead` are. The
/// node's own is enrolled whatever that number, and takes no place under it.
pub fn ahead_of_demand<'a>(
    entitlements: impl IntoIterator<Item = &'a Entitlement>,
    ahead: usize,
) -> BTreeSet<&'a EntitlementId> {
    let mut in_order: Vec<_> = entitlements.into_iter().collect();
    in_order.sort_by(|a, b| a.enrolment_order().cmp(&b.enrolment_order()));
    let own = in_order.iter().filter(|it| it.is_node()).count();
    let ahead = in_order.into_iter().take(ahead.saturating_add(own));
    ahead.map(|it| &it.id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::RegistrationKey;
    use crate::selector::Selector;

    #[test]
    fn names_on_the_wire_are_strict() {
        let key = RegistrationKey::on_node(
            SpiffeId::new("spiffe://example.org/web").unwrap(),
            SpiffeId::new("spiffe://example.org/node/a").unwrap(),
            SelectorSet::new([Selector::UnixUid(1)]).unwrap(),
        );
        let id = key.entitlement_id();
        assert_eq!(EntitlementId::parse(id.as_str()), Some(id));
        assert_eq!(EntitlementId::parse("node"), Some(EntitlementId::node()));
        for text in [
            "",
            "reg-",
            "reg-0123",
            "NODE",
            "../node",
            &format!("reg-{}", "G".repeat(32)),
        ] {
            assert_eq!(EntitlementId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn keys_that_differ_have_different_names() {
        let key = |id: &str, uid| {
            RegistrationKey::on_node(
                SpiffeId::new(id).unwrap(),
                SpiffeId::new("spiffe://example.org/node/a").unwrap(),
                SelectorSet::new([Selector::UnixUid(uid)]).unwrap(),
            )
        };
        let one = key("spiffe://example.org/web", 1).entitlement_id();
        assert_ne!(one, key("spiffe://example.org/web", 2).entitlement_id());
        assert_ne!(one, key("spiffe://example.org/db", 1).entitlement_id());
    }
}
