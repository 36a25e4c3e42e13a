//! One certificate as the log holds it: what was to be signed, for whom, and who answers for it.

use std::collections::BTreeMap;

use countersign_model::{Criticality, Registration, Serial};
use jiff::Timestamp;

use super::profile::Profile;

/// A to-be-signed certificate and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Issuance {
    /// Log id, index and a random part.
    pub(crate) serial: Serial,
    pub(crate) profile: Profile,
    pub(crate) spiffe_id: String,
    /// The node that holds the key; empty for a CA and the control plane itself.
    pub(crate) node: String,
    /// Which entitlement; empty for a CA and the control plane itself.
    pub(crate) entitlement: String,
    pub(crate) spki_sha256: [u8; 32],
    /// Key id of the CA that signs.
    pub(crate) issuer: String,
    pub(crate) issued_at: Timestamp,
    /// NotAfter, whole seconds.
    pub(crate) not_after: Timestamp,
    /// The DER of the to-be-signed certificate.
    pub(crate) tbs: Vec<u8>,
    /// Who answers for it.
    pub(crate) account: Account,
    /// Index of the certificate that this one renews.
    pub(crate) renews: Option<u64>,
    /// The key epoch of the registration that allowed it; `None` for a CA, the control plane's own
    /// and what an older version logged.
    pub(crate) key_epoch: Option<u64>,
}

/// Who answers for an identity, and how much it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    pub(crate) owner: String,
    pub(crate) criticality: Criticality,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Account {
    /// What a registration says of it.
    pub(crate) fn of(registration: &Registration) -> Self {
        Self {
            owner: registration.owner.clone(),
            criticality: registration.criticality,
            labels: registration.labels.clone(),
        }
    }
}
