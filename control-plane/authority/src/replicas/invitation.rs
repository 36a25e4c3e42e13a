//! The file with which a control plane joins: for whom it is, and a secret.

use std::fmt;

use countersign_model::TrustDomain;
use countersign_model::entropy::{Entropy, NoEntropy};
use countersign_refusal::Denied;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Longest name of a replica.
const MAX_NAME: usize = 63;
const SECRET_BYTES: usize = 32;

/// Whether a text can be the name of a replica.
///
/// # Errors
/// It cannot.
pub fn check_name(name: &str) -> Result<(), Denied> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match name.len() {
        1..=MAX_NAME if name.bytes().all(is_letter) => Ok(()),
        _ => Err(Denied {
            code: "replica_name",
            message: format!("is no name of 1 to {MAX_NAME} characters a-z, 0-9 and -"),
            remedy: "write a short name such as \"b\"",
        }),
    }
}

/// What a control plane shows once, to be one of those that share a database.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invitation {
    trust_domain: String,
    replica: String,
    /// Lower-case hex.
    secret: Zeroizing<String>,
}

/// A text that is no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an invitation as `countersign replica invite` writes it")]
pub struct InvitationError;

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation of {} to {}", self.replica, self.trust_domain)
    }
}

impl Invitation {
    pub(super) fn new(
        trust_domain: &TrustDomain,
        replica: &str,
        entropy: &dyn Entropy,
    ) -> Result<Self, NoEntropy> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        entropy.fill(&mut *secret)?;
        Ok(Self {
            trust_domain: trust_domain.as_str().to_owned(),
            replica: replica.to_owned(),
            secret: hex::encode(*secret).into(),
        })
    }

    /// Reads the file that `countersign replica invite` wrote.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let read: Self = serde_json::from_str(text).map_err(|_| InvitationError)?;
        let is_secret = hex::decode(&*read.secret).is_ok_and(|it| it.len() == SECRET_BYTES);
        let names =
            TrustDomain::new(&read.trust_domain).is_ok() && check_name(&read.replica).is_ok();
        (is_secret && names).then_some(read).ok_or(InvitationError)
    }

    /// The content of the file.
    pub fn to_text(&self) -> Zeroizing<String> {
        let text = serde_json::to_string(self).expect("an invitation is plain JSON");
        Zeroizing::new(text + "\n")
    }

    /// The trust domain that it is for.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The control plane that it is for.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// SHA-256 over the secret, lower-case hex: what the store keeps of it.
    pub(super) fn secret_sha256(&self) -> String {
        hex::encode(Sha256::digest(self.secret.as_bytes()))
    }
}
