//! Registrations: who may hold which identity.
//!
//! Most name a node that hands the identity to callers with certain selectors; some are signed by
//! hand, for what cannot run a sidecar. A registration is unique by ([`RegistrationKey`]) ID and
//! [`Parent`]; writing the same key again updates it. SANs, lifetime and hint come from here and
//! never from a request.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::entitlement::EntitlementId;
use crate::selector::SelectorSet;
use crate::spiffe_id::SpiffeId;

/// Longest hint in bytes (SPIFFE_Workload_API.md section 5.2.1).
pub const MAX_HINT_BYTES: usize = 1024;
/// Most DNS names of one registration.
pub const MAX_DNS_NAMES: usize = 16;
/// Longest owner in bytes.
pub const MAX_OWNER_BYTES: usize = 128;
/// Most labels of one registration.
pub const MAX_LABELS: usize = 16;
/// Longest key of a label in bytes.
pub const MAX_LABEL_KEY_BYTES: usize = 63;
/// Longest value of a label in bytes.
pub const MAX_LABEL_VALUE_BYTES: usize = 128;

/// What stands in the hash of a key in the place of node and selectors.
const BY_HAND: &str = "by-hand";

/// How much it matters when this identity stops working.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Criticality {
    /// Nobody is called at night.
    Low,
    /// The default.
    #[default]
    Standard,
    /// Pages somebody.
    Critical,
}

impl Criticality {
    /// The word used on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Standard => "standard",
            Self::Critical => "critical",
        }
    }
}

impl std::str::FromStr for Criticality {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "low" => Ok(Self::Low),
            "standard" => Ok(Self::Standard),
            "critical" => Ok(Self::Critical),
            _ => Err("criticality is low, standard or critical"),
        }
    }
}

/// A hint that is too long or holds control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hint is 1 to {MAX_HINT_BYTES} bytes without control characters")]
pub struct HintError;

/// A name by which a workload tells its identities apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hint(String);

impl Hint {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Hint {
    type Error = HintError;
    fn try_from(text: String) -> Result<Self, HintError> {
        let fits = (1..=MAX_HINT_BYTES).contains(&text.len()) && !text.contains(char::is_control);
        if fits { Ok(Self(text)) } else { Err(HintError) }
    }
}

impl From<Hint> for String {
    fn from(hint: Hint) -> Self {
        hint.0
    }
}

/// Who hands the identity out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Parent {
    /// One node, to callers that show all of the selectors.
    Node {
        /// The node that may hold it.
        node: SpiffeId,
        /// What a caller on that node must show, all of it.
        selectors: SelectorSet,
    },
    /// An operator, who signs certification requests. It goes to no node.
    Manual,
}

/// What makes a registration unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "WrittenKey", into = "WrittenKey")]
pub struct RegistrationKey {
    /// The identity handed out.
    pub id: SpiffeId,
    /// By whom.
    pub parent: Parent,
}

impl RegistrationKey {
    /// The key of an identity that a node hands to callers with these selectors.
    pub fn on_node(id: SpiffeId, node: SpiffeId, selectors: SelectorSet) -> Self {
        let parent = Parent::Node { node, selectors };
        Self { id, parent }
    }

    /// The key of an identity that is signed by hand.
    pub fn manual(id: SpiffeId) -> Self {
        let parent = Parent::Manual;
        Self { id, parent }
    }

    /// The node that may hold it; none where it is signed by hand.
    pub fn node(&self) -> Option<&SpiffeId> {
        match &self.parent {
            Parent::Node { node, .. } => Some(node),
            Parent::Manual => None,
        }
    }

    /// What a caller must show; none where it is signed by hand.
    pub fn selectors(&self) -> Option<&SelectorSet> {
        match &self.parent {
            Parent::Node { selectors, .. } => Some(selectors),
            Parent::Manual => None,
        }
    }

    /// The name under which node and control plane speak of this registration: a hash of the
    /// key, so that it is the same after a restart and after a removal and return.
    pub fn entitlement_id(&self) -> EntitlementId {
        // A node's ID begins with its scheme, so no node can stand for the other parent.
        let parent = self.node().map_or(BY_HAND, SpiffeId::as_str);
        let mut hash = Sha256::new();
        for part in [self.id.as_str(), parent] {
            hash.update(part);
            hash.update([0]);
        }
        for selector in self.selectors().into_iter().flat_map(SelectorSet::iter) {
            hash.update(selector.to_string());
            hash.update([0]);
        }
        EntitlementId::registered(&hex::encode(&hash.finalize()[..16]))
    }
}

impl fmt::Display for RegistrationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node() {
            Some(node) => write!(f, "{} on {node}", self.id),
            None => write!(f, "{} by hand", self.id),
        }
    }
}

/// A key as it is stored. The other parent is written out: a record that lost its node must not
/// become one that is signed by hand.
#[derive(Serialize, Deserialize)]
struct WrittenKey {
    id: SpiffeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<SpiffeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selectors: Option<SelectorSet>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_hand: bool,
}

impl From<RegistrationKey> for WrittenKey {
    fn from(key: RegistrationKey) -> Self {
        let (node, selectors) = match key.parent {
            Parent::Node { node, selectors } => (Some(node), Some(selectors)),
            Parent::Manual => (None, None),
        };
        Self {
            id: key.id,
            by_hand: node.is_none(),
            node,
            selectors,
        }
    }
}

impl TryFrom<WrittenKey> for RegistrationKey {
    type Error = &'static str;
    fn try_from(written: WrittenKey) -> Result<Self, Self::Error> {
        match (written.node, written.selectors, written.by_hand) {
            (Some(node), Some(selectors), false) => Ok(Self::on_node(written.id, node, selectors)),
            (None, None, true) => Ok(Self::manual(written.id)),
            _ => Err("a registration names a node and selectors, or is signed by hand"),
        }
    }
}

/// One registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Identity and parent.
    #[serde(flatten)]
    pub key: RegistrationKey,
    /// Who answers for this identity.
    pub owner: String,
    /// How much it matters.
    pub criticality: Criticality,
    /// What operators find it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Lifetime of its X.509-SVIDs; the control plane's default where absent.
    pub x509_ttl: Option<Duration>,
    /// DNS SANs, in order of registration.
    pub dns: Vec<String>,
    /// The name a workload may tell this identity by.
    pub hint: Option<Hint>,
    /// Whether this is the identity that `default` names.
    pub is_default: bool,
    /// When the right ends; no certificate outlives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the key was first registered. An update keeps it.
    pub created_at: Timestamp,
    /// Breaks ties between equal `created_at`: the store's sequence at creation.
    pub created_seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Selector;

    /// As it was written before labels, expiry and signing by hand.
    const OLD: &str = r#"{"id":"spiffe://example.org/web","node":"spiffe://example.org/node/a",
        "selectors":["unix:uid:1000"],"owner":"me","criticality":"low","x509_ttl":null,"dns":[],
        "hint":null,"is_default":false,"created_at":"2026-11-21T12:00:00Z","created_seq":7}"#;

    fn web() -> SpiffeId {
        SpiffeId::new("spiffe://example.org/web").unwrap()
    }

    #[test]
    fn older_records_are_read() {
        let read: Registration = serde_json::from_str(OLD).unwrap();
        let selectors = SelectorSet::new([Selector::UnixUid(1000)]).unwrap();
        let node = SpiffeId::new("spiffe://example.org/node/a").unwrap();
        assert_eq!(read.key, RegistrationKey::on_node(web(), node, selectors));
        assert!(read.labels.is_empty() && read.expires_at.is_none());
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(
            serde_json::from_str::<Registration>(&written).unwrap(),
            read
        );
    }

    #[test]
    fn record_without_its_node_is_not_by_hand() {
        let by_hand: RegistrationKey =
            serde_json::from_str(r#"{"id":"spiffe://example.org/web","by_hand":true}"#).unwrap();
        assert_eq!(by_hand, RegistrationKey::manual(web()));
        let written = serde_json::to_string(&by_hand).unwrap();
        assert_eq!(
            serde_json::from_str::<RegistrationKey>(&written).unwrap(),
            by_hand
        );
        for damaged in [
            r#"{"id":"spiffe://example.org/web"}"#,
            r#"{"id":"spiffe://example.org/web","selectors":["unix:uid:1"]}"#,
            r#"{"id":"spiffe://example.org/web","node":"spiffe://example.org/node/a"}"#,
            r#"{"id":"spiffe://example.org/web","node":"spiffe://example.org/node/a","by_hand":true}"#,
        ] {
            assert!(
                serde_json::from_str::<RegistrationKey>(damaged).is_err(),
                "{damaged}"
            );
        }
    }

    #[test]
    fn by_hand_has_a_name_of_its_own() {
        let selectors = SelectorSet::new([Selector::UnixUid(1000)]).unwrap();
        let node = SpiffeId::new("spiffe://example.org/by-hand").unwrap();
        let on_node = RegistrationKey::on_node(web(), node, selectors);
        assert_ne!(
            RegistrationKey::manual(web()).entitlement_id(),
            on_node.entitlement_id()
        );
    }
}
