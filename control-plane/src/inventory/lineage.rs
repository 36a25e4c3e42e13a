//! A lineage: the certificates of one identity on one endpoint, of which the newest is kept.

use std::fmt;
use std::sync::Arc;

use countersign_model::Serial;
use countersign_registry::Account;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use countersign_issue::issuance::Issuance;
use countersign_issue::profile::Profile;

/// The name of a lineage: a hash of what makes it one, so that it is the same after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LineageId([u8; 16]);

impl LineageId {
    /// Of a profile, an identity, its node and its entitlement.
    pub(crate) fn of(profile: Profile, spiffe_id: &str, node: &str, entitlement: &str) -> Self {
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
pub(crate) struct Lineage {
    pub(crate) spiffe_id: Box<str>,
    /// Empty for a CA, the control plane itself and what is signed by hand.
    pub(crate) node: Arc<str>,
    pub(crate) entitlement: Box<str>,
    pub(crate) profile: Profile,
    pub(crate) account: Arc<Account>,
    /// When the first of the certificates that are known was issued.
    pub(crate) since: Timestamp,
    /// How many are known.
    pub(crate) certificates: u64,
    pub(crate) newest: Certificate,
}

impl Lineage {
    /// Its name.
    pub(crate) fn id(&self) -> LineageId {
        LineageId::of(self.profile, &self.spiffe_id, &self.node, &self.entitlement)
    }

    /// Where it stands in a list.
    pub(crate) fn place(&self) -> (&str, &str, &str, &str) {
        let profile = self.profile.as_str();
        (&self.spiffe_id, &self.node, &self.entitlement, profile)
    }
}

/// What is kept of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) serial: Serial,
    /// Of the whole certificate; `None` where its signature was not looked for.
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) spki_sha256: [u8; 32],
    /// Key id of the CA that signed it.
    pub(crate) issuer: Arc<str>,
    pub(crate) issued_at: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Certificate {
    pub(crate) fn of(issuance: &Issuance, sha256: Option<[u8; 32]>, issuer: Arc<str>) -> Self {
        Self {
            serial: issuance.serial,
            sha256,
            spki_sha256: issuance.spki_sha256,
            issuer,
            issued_at: issuance.issued_at,
            not_after: issuance.not_after,
        }
    }
}
