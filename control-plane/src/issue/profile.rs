//! Profiles: what each kind of certificate looks like, and who its subject and issuer are.

use std::time::Duration;

use countersign_model::{SpiffeId, TrustDomain};
use jiff::Timestamp;
use rcgen::{BasicConstraints, DistinguishedName, DnType, IsCa, KeyUsagePurpose};

use crate::ca::slots::Tier;
use crate::registry::Authorized;

/// How far NotBefore lies before the time of issue, for clocks that are behind.
const LEAF_BACKDATE: Duration = Duration::from_secs(60);
/// The same for CA certificates, which are rare and live long.
const CA_BACKDATE: Duration = Duration::from_secs(3_600);
/// CA certificates below a root on a path: an intermediate, where there is one, and issuing.
const ROOT_PATH_LENGTH: u8 = 2;

/// A kind of certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// The X.509-SVID of a node or workload (X509-SVID.md section 4).
    Svid,
    /// The control plane's own X.509-SVID.
    Server,
    /// An issuing CA: signs leaves only.
    Issuing,
    /// A root, signed by itself.
    Root,
}

impl Profile {
    /// Its name in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Svid => "x509-svid",
            Self::Server => "server",
            Self::Issuing => "issuing-ca",
            Self::Root => "root-ca",
        }
    }

    /// Whether it is a CA.
    pub(crate) fn is_ca(self) -> bool {
        matches!(self, Self::Issuing | Self::Root)
    }

    /// Basic constraints: explicit for leaves too, and critical always.
    pub(crate) fn basic_constraints(self) -> IsCa {
        match self.path_length() {
            Some(length) => IsCa::Ca(BasicConstraints::Constrained(length)),
            None => IsCa::ExplicitNoCa,
        }
    }

    /// How many CA certificates may follow below this one; `None` for a leaf.
    pub(crate) fn path_length(self) -> Option<u8> {
        match self {
            Self::Root => Some(ROOT_PATH_LENGTH),
            Self::Issuing => Some(0),
            Self::Svid | Self::Server => None,
        }
    }

    pub(crate) fn key_usages(self) -> Vec<KeyUsagePurpose> {
        if self.is_ca() {
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
        } else {
            vec![KeyUsagePurpose::DigitalSignature]
        }
    }

    /// How far NotBefore lies before the time of issue.
    pub(crate) fn backdate(self) -> Duration {
        if self.is_ca() {
            CA_BACKDATE
        } else {
            LEAF_BACKDATE
        }
    }
}

/// Whom a certificate is for. Names come from here, never from the key or a request.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) profile: Profile,
    /// The one URI SAN.
    pub(crate) id: SpiffeId,
    /// DNS SANs.
    pub(crate) dns: Vec<String>,
    /// Lifetime, where the issuer lives as long.
    pub(crate) ttl: Duration,
    /// The distinguished name, common name only; leaves have none.
    pub(crate) common_name: Option<String>,
    /// Which node holds the key; empty for a CA.
    pub(crate) holder_node: String,
    /// Under which entitlement; empty for a CA.
    pub(crate) entitlement: String,
    /// Keys that this subject must not use: our own CAs'.
    pub(crate) foreign_keys: Vec<String>,
}

impl Subject {
    /// What an authorization allows, and nothing else.
    pub(crate) fn svid(authorized: &Authorized, foreign_keys: Vec<String>) -> Self {
        Self {
            profile: Profile::Svid,
            id: authorized.id().clone(),
            dns: authorized.dns().to_vec(),
            ttl: authorized.ttl(),
            common_name: None,
            holder_node: authorized.node().to_string(),
            entitlement: authorized.entitlement().to_string(),
            foreign_keys,
        }
    }

    /// The control plane itself.
    pub(crate) fn server(trust_domain: &TrustDomain, ttl: Duration) -> Self {
        let id = trust_domain.control_plane();
        Self {
            profile: Profile::Server,
            holder_node: id.to_string(),
            id,
            dns: Vec::new(),
            ttl,
            common_name: None,
            entitlement: Profile::Server.as_str().to_owned(),
            foreign_keys: Vec::new(),
        }
    }

    /// A CA: its ID is the trust domain's (X509-SVID.md section 3.1).
    pub(crate) fn ca(tier: Tier, key_id: &str, trust_domain: &TrustDomain, ttl: Duration) -> Self {
        let profile = match tier {
            Tier::Root => Profile::Root,
            Tier::Issuing => Profile::Issuing,
        };
        Self {
            profile,
            id: trust_domain.id(),
            dns: Vec::new(),
            ttl,
            common_name: Some(ca_name(tier, key_id)),
            holder_node: String::new(),
            entitlement: String::new(),
            foreign_keys: Vec::new(),
        }
    }
}

/// What a certificate must know of the CA that will sign it.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) key_id: String,
    pub(crate) common_name: String,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// The unique name of a CA: at most 64 characters (RFC 5280 appendix A, ub-common-name).
pub(crate) fn ca_name(tier: Tier, key_id: &str) -> String {
    match tier {
        Tier::Root => format!("Countersign Root CA {key_id}"),
        Tier::Issuing => format!("Countersign Issuing CA {key_id}"),
    }
}

/// A distinguished name of a common name, or the empty one.
pub(crate) fn distinguished_name(common_name: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(common_name) = common_name {
        name.push(DnType::CommonName, common_name);
    }
    name
}
