//! A lineage: the certificates of one identity on one endpoint, of which the newest is kept.

use std::fmt;
use std::sync::Arc;

use countersign_issue::issuance::Issuance;
use countersign_issue::profile::Profile;
use countersign_model::Serial;
use countersign_registry::Account;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// The name of a lineage: a hash of what makes it one, so that it is the same after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LineageId([u8; 16]);

impl LineageId {
    /// Of a profile, an identity, its node and its entitlement.
    pub fn of(profile: Profile, spiffe_id: &str, node: &str, entitlement: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [profile.as_str(), spiffe_id, node, entitlement] {
            hash.update(part);
            hash.update([0]);
        }
        let hash = hash.finalize();
        Self(std::array::from_fn(|place| hash[place]))
    }
}

impl fmt::Display for LineageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for LineageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The certificates of one identity on one endpoint.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// The identity.
    pub spiffe_id: Box<str>,
    /// Empty for a CA, the control plane itself and what is signed by hand.
    pub node: Arc<str>,
    /// The entitlement that it was issued for.
    pub entitlement: Box<str>,
    /// The profile of its certificates.
    pub profile: Profile,
    /// Who answers for it.
    pub account: Arc<Account>,
    /// When the first of the certificates that are known was issued.
    pub since: Timestamp,
    /// How many are known.
    pub certificates: u64,
    /// The newest of them.
    pub newest: Certificate,
}

impl Lineage {
    /// Its name.
    pub fn id(&self) -> LineageId {
        LineageId::of(self.profile, &self.spiffe_id, &self.node, &self.entitlement)
    }

    /// Where it stands in a list.
    pub fn place(&self) -> (&str, &str, &str, &str) {
        let profile = self.profile.as_str();
        (&self.spiffe_id, &self.node, &self.entitlement, profile)
    }
}

/// What is kept of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its serial number.
    pub serial: Serial,
    /// Of the whole certificate; `None` where its signature was not looked for.
    pub sha256: Option<[u8; 32]>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Key id of the CA that signed it.
    pub issuer: Arc<str>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Its NotAfter.
    pub not_after: Timestamp,
    /// Where it stands among all that were issued.
    pub order: u64,
}

impl Certificate {
    /// What is kept of an issuance; `sha256` is that of the whole certificate, where it is known.
    pub fn of(issuance: &Issuance, sha256: Option<[u8; 32]>, issuer: Arc<str>) -> Self {
        Self {
            serial: issuance.serial,
            sha256,
            spki_sha256: issuance.spki_sha256,
            issuer,
            issued_at: issuance.issued_at,
            not_after: issuance.not_after,
            order: issuance.order,
        }
    }
}
