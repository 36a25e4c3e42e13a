//! One certificate as the log holds it: what was to be signed, for whom, and who answers for it.

use countersign_model::Serial;
use countersign_registry::Account;
use jiff::Timestamp;

use super::profile::Profile;

/// A to-be-signed certificate and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// Log id, index and a random part.
    pub serial: Serial,
    /// What kind of certificate it is.
    pub profile: Profile,
    /// The one URI SAN.
    pub spiffe_id: String,
    /// The node that holds the key; empty for a CA and the control plane itself.
    pub node: String,
    /// Which entitlement; empty for a CA and the control plane itself.
    pub entitlement: String,
    /// SHA-256 over the SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Key id of the CA that signs.
    pub issuer: String,
    /// When it was decided, to the nanosecond; NotBefore lies further back.
    pub issued_at: Timestamp,
    /// NotAfter, whole seconds.
    pub not_after: Timestamp,
    /// The DER of the to-be-signed certificate.
    pub tbs: Vec<u8>,
    /// Who answers for it.
    pub account: Account,
    /// Index of the certificate that this one renews.
    pub renews: Option<u64>,
    /// The key epoch of the registration that allowed it; `None` for a CA, the control plane's own
    /// and what an older version logged.
    pub key_epoch: Option<u64>,
}
