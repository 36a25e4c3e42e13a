//! Profiles: what each kind of certificate looks like, and who its subject and issuer are.
//!
//! A new profile is a file with its [`Shape`], a variant of [`Profile`] and its line in
//! [`Profile::shape`]; the template, the rules and the bounds of its life follow from the shape,
//! and the tests walk over [`Profile::ALL`].

mod intermediate;
mod issuing;
mod root;
mod server;
mod svid;
mod tier;
mod times;

use std::sync::Arc;
use std::time::Duration;

use countersign_model::{Coordinate, Seq, SpiffeId, TrustDomain};
use countersign_registry::{Account, Authorized};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
};

use super::key::KeyKind;
use super::key::refused::RefusedKeys;
pub use tier::Tier;
pub use times::ProfileTimes;
pub use times::{CA_BACKDATE, LEAF_BACKDATE, Times};

/// A kind of certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The X.509-SVID of a node or workload (X509-SVID.md section 4).
    Svid,
    /// The control plane's own X.509-SVID.
    Server,
    /// An issuing CA: signs leaves only.
    Issuing,
    /// A CA between root and issuing CAs.
    Intermediate,
    /// A root, signed by itself.
    Root,
}

/// What all certificates of a profile have in common.
pub struct Shape {
    /// Its name in the log.
    pub name: &'static str,
    /// For a CA: how many CA certificates may follow below it.
    pub path_length: Option<u8>,
    /// Key usage (RFC 5280 section 4.2.1.3).
    pub key_usages: &'static [KeyUsagePurpose],
    /// Extended key usage (RFC 5280 section 4.2.1.12).
    pub extended_key_usages: &'static [ExtendedKeyUsagePurpose],
    /// Kinds of keys that it is made for.
    pub keys: &'static [KeyKind],
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 5] = [
        Self::Svid,
        Self::Server,
        Self::Issuing,
        Self::Intermediate,
        Self::Root,
    ];

    /// What its certificates have in common.
    pub fn shape(self) -> &'static Shape {
        match self {
            Self::Svid => &svid::SHAPE,
            Self::Server => &server::SHAPE,
            Self::Issuing => &issuing::SHAPE,
            Self::Intermediate => &intermediate::SHAPE,
            Self::Root => &root::SHAPE,
        }
    }

    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        self.shape().name
    }

    /// The profile of a name in the log.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// Whether it is a CA.
    pub fn is_ca(self) -> bool {
        self.shape().path_length.is_some()
    }

    /// Basic constraints: explicit for leaves too, and critical always.
    pub fn basic_constraints(self) -> IsCa {
        match self.path_length() {
            Some(length) => IsCa::Ca(BasicConstraints::Constrained(length)),
            None => IsCa::ExplicitNoCa,
        }
    }

    /// How many CA certificates may follow below this one; `None` for a leaf.
    pub fn path_length(self) -> Option<u8> {
        self.shape().path_length
    }
}

/// Whom a certificate is for. Names come from here, never from the key or a request.
#[derive(Debug)]
pub struct Subject {
    pub(crate) profile: Profile,
    /// The one URI SAN.
    pub(crate) id: SpiffeId,
    /// DNS SANs.
    pub(crate) dns: Vec<String>,
    /// Lifetime, where the issuer lives as long.
    pub(crate) ttl: Duration,
    /// The bounds of its life.
    pub(crate) times: Times,
    /// The distinguished name, common name only; leaves have none.
    pub(crate) common_name: Option<String>,
    /// Which node holds the key; empty for a CA and for what is signed by hand.
    pub(crate) holder_node: String,
    /// Under which entitlement; empty for a CA.
    pub(crate) entitlement: String,
    /// Keys that this subject must not use. Our own keys are ours to use.
    pub(crate) refused_keys: Option<Arc<RefusedKeys>>,
    /// Who answers for it.
    pub(crate) account: Account,
    /// The certificate that this one renews.
    pub(crate) renews: Option<Coordinate>,
    /// The key epoch of the registration that allows it.
    pub(crate) key_epoch: Option<u64>,
    /// The attestation of the node that allows it.
    pub(crate) attested: Option<Seq>,
}

impl Subject {
    /// What an authorization allows, and nothing else.
    #[expect(clippy::needless_pass_by_value, reason = "a proof is used once")]
    pub fn svid(
        authorized: Authorized,
        times: &ProfileTimes,
        refused_keys: Arc<RefusedKeys>,
    ) -> Self {
        Self {
            profile: Profile::Svid,
            id: authorized.id().clone(),
            dns: authorized.dns().to_vec(),
            ttl: authorized.ttl(),
            times: times.of(Profile::Svid),
            common_name: None,
            holder_node: authorized
                .node()
                .map_or_else(String::new, SpiffeId::to_string),
            entitlement: authorized.entitlement().to_string(),
            refused_keys: Some(refused_keys),
            account: authorized.account().clone(),
            renews: None,
            key_epoch: Some(authorized.key_epoch()),
            attested: authorized.attested(),
        }
    }

    /// The same, as the renewal of a certificate.
    pub fn renewing(self, renews: Option<Coordinate>) -> Self {
        Self { renews, ..self }
    }

    /// The same, where a replica answers for it.
    #[must_use]
    pub fn of_replica(mut self, replica: &str) -> Self {
        replica.clone_into(&mut self.account.owner);
        self
    }

    /// What kind of certificate it gets.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The control plane itself.
    pub fn server(trust_domain: &TrustDomain, ttl: Duration, times: &ProfileTimes) -> Self {
        let id = trust_domain.control_plane();
        Self {
            profile: Profile::Server,
            holder_node: String::new(),
            id,
            dns: Vec::new(),
            ttl,
            times: times.of(Profile::Server),
            common_name: None,
            entitlement: String::new(),
            refused_keys: None,
            account: Account::default(),
            renews: None,
            key_epoch: None,
            attested: None,
        }
    }

    /// A CA: its ID is the trust domain's (X509-SVID.md section 3.1).
    pub fn ca(
        tier: Tier,
        key_id: &str,
        trust_domain: &TrustDomain,
        ttl: Duration,
        times: &ProfileTimes,
    ) -> Self {
        Self {
            profile: tier.profile(),
            id: trust_domain.id(),
            dns: Vec::new(),
            ttl,
            times: times.of(tier.profile()),
            common_name: Some(ca_name(tier, key_id)),
            holder_node: String::new(),
            entitlement: String::new(),
            refused_keys: None,
            account: Account::default(),
            renews: None,
            key_epoch: None,
            attested: None,
        }
    }
}

/// What a certificate must know of the CA that will sign it.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The id of its key, lower-case hex.
    pub key_id: String,
    /// The subject key identifier in its certificate: another's choice where another signed it.
    pub key_identifier: String,
    /// Its whole distinguished name.
    pub common_name: String,
    /// NotBefore.
    pub not_before: Timestamp,
    /// NotAfter.
    pub not_after: Timestamp,
}

/// The unique name of a CA: at most 64 characters (RFC 5280 appendix A, ub-common-name).
pub fn ca_name(tier: Tier, key_id: &str) -> String {
    match tier {
        Tier::Root => format!("Countersign Root CA {key_id}"),
        Tier::Intermediate => format!("Countersign Sub CA {key_id}"),
        Tier::Issuing => format!("Countersign Issuing CA {key_id}"),
    }
}

/// A distinguished name of a common name, or the empty one.
pub fn distinguished_name(common_name: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(common_name) = common_name {
        name.push(DnType::CommonName, common_name);
    }
    name
}
