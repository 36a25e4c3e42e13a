//! The ways in which nodes attest, by name: in the configuration and in what is stored of a node.

use serde::{Deserialize, Serialize};

/// A way in which nodes attest. What it does is its [`Attestor`](crate::Attestor).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A one-time join token.
    #[default]
    JoinToken,
}

impl Method {
    /// Every way.
    pub const ALL: [Self; 1] = [Self::JoinToken];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JoinToken => "join_token",
        }
    }
}
