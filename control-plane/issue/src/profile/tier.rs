//! The tiers of the hierarchy of CAs.

use serde::{Deserialize, Serialize};

use super::Profile;

/// A CA's place in the hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Self-signed, in the bundle.
    Root,
    /// Signed by a root, signs issuing CAs; need not be there.
    Intermediate,
    /// Signed by a root or intermediate, signs leaves.
    Issuing,
}

impl Tier {
    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
            Self::Issuing => "issuing",
        }
    }

    /// What the certificate of such a CA looks like.
    pub fn profile(self) -> Profile {
        match self {
            Self::Root => Profile::Root,
            Self::Intermediate => Profile::Intermediate,
            Self::Issuing => Profile::Issuing,
        }
    }
}
