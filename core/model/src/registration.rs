//! Registrations: which node may hand which identity to which callers.
//!
//! A registration is unique by ([`RegistrationKey`]) ID, node and selector set; writing the same
//! key again updates it. SANs, lifetime and hint come from here and never from a request.

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

/// How much it matters when this identity stops working.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// What makes a registration unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RegistrationKey {
    /// The identity handed out.
    pub id: SpiffeId,
    /// The node that may hold it.
    pub node: SpiffeId,
    /// What a caller on that node must show, all of it.
    pub selectors: SelectorSet,
}

impl RegistrationKey {
    /// The name under which node and control plane speak of this registration: a hash of the
    /// key, so that it is the same after a restart and after a removal and return.
    pub fn entitlement_id(&self) -> EntitlementId {
        let mut hash = Sha256::new();
        for part in [self.id.as_str(), self.node.as_str()] {
            hash.update(part);
            hash.update([0]);
        }
        for selector in self.selectors.iter() {
            hash.update(selector.to_string());
            hash.update([0]);
        }
        EntitlementId::registered(&hex::encode(&hash.finalize()[..16]))
    }
}

impl fmt::Display for RegistrationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.id, self.node)
    }
}

/// One registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Identity, node and selectors.
    #[serde(flatten)]
    pub key: RegistrationKey,
    /// Who answers for this identity.
    pub owner: String,
    /// How much it matters.
    pub criticality: Criticality,
    /// Lifetime of its X.509-SVIDs; the control plane's default where absent.
    pub x509_ttl: Option<Duration>,
    /// DNS SANs, in order of registration.
    pub dns: Vec<String>,
    /// The name a workload may tell this identity by.
    pub hint: Option<Hint>,
    /// Whether this is the identity that `default` names.
    pub is_default: bool,
    /// When the key was first registered. An update keeps it.
    pub created_at: Timestamp,
    /// Breaks ties between equal `created_at`: the store's sequence at creation.
    pub created_seq: u64,
}
