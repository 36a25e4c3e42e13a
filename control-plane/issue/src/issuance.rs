//! One certificate as the log holds it: what was to be signed, for whom, and who answers for it.

use countersign_model::{Coordinate, Seq, Serial};
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
    /// The certificate that this one renews.
    pub renews: Option<Coordinate>,
    /// The key epoch of the registration that allowed it; `None` for a CA and the control plane's
    /// own.
    pub key_epoch: Option<u64>,
    /// The attestation that its node was recognised by, by the commit that wrote it; `None` where no
    /// node holds the key.
    pub attested: Option<Seq>,
    /// Where its entry stands among those of all logs: by the commits of the database, where that
    /// keeps the logs, and otherwise by the index in the one log.
    pub order: u64,
}
