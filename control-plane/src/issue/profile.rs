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
mod times;

use std::sync::Arc;
use std::time::Duration;

use countersign_model::{SpiffeId, TrustDomain};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
};

use super::issuance::Account;
use super::key::KeyKind;
use super::key::refused::RefusedKeys;
use crate::ca::slots::Tier;
use crate::registry::Authorized;

pub use times::ProfileTimes;
pub(crate) use times::{CA_BACKDATE, LEAF_BACKDATE, Times};

/// A kind of certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
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
pub(crate) struct Shape {
    /// Its name in the log.
    pub(crate) name: &'static str,
    /// For a CA: how many CA certificates may follow below it.
    pub(crate) path_length: Option<u8>,
    pub(crate) key_usages: &'static [KeyUsagePurpose],
    pub(crate) extended_key_usages: &'static [ExtendedKeyUsagePurpose],
    /// Kinds of keys that it is made for.
    pub(crate) keys: &'static [KeyKind],
}

impl Profile {
    /// Every profile.
    pub(crate) const ALL: [Self; 5] = [
        Self::Svid,
        Self::Server,
        Self::Issuing,
        Self::Intermediate,
        Self::Root,
    ];

    /// What its certificates have in common.
    pub(crate) fn shape(self) -> &'static Shape {
        match self {
            Self::Svid => &svid::SHAPE,
            Self::Server => &server::SHAPE,
            Self::Issuing => &issuing::SHAPE,
            Self::Intermediate => &intermediate::SHAPE,
            Self::Root => &root::SHAPE,
        }
    }

    /// Its name in the log.
    pub(crate) fn as_str(self) -> &'static str {
        self.shape().name
    }

    /// The profile of a name in the log.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// Whether it is a CA.
    pub(crate) fn is_ca(self) -> bool {
        self.shape().path_length.is_some()
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
    /// Log index of the certificate that this one renews.
    pub(crate) renews: Option<u64>,
    /// The key epoch of the registration that allows it.
    pub(crate) key_epoch: Option<u64>,
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
        }
    }

    /// The control plane itself.
    pub(crate) fn server(trust_domain: &TrustDomain, ttl: Duration, times: &ProfileTimes) -> Self {
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
        }
    }

    /// A CA: its ID is the trust domain's (X509-SVID.md section 3.1).
    pub(crate) fn ca(
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
        }
    }
}

impl Tier {
    /// What the certificate of such a CA looks like.
    pub(crate) fn profile(self) -> Profile {
        match self {
            Self::Root => Profile::Root,
            Self::Intermediate => Profile::Intermediate,
            Self::Issuing => Profile::Issuing,
        }
    }
}

/// What a certificate must know of the CA that will sign it.
#[derive(Clone, Debug)]
pub struct Issuer {
    pub(crate) key_id: String,
    /// The subject key identifier in its certificate: another's choice where another signed it.
    pub(crate) key_identifier: String,
    pub(crate) common_name: String,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// The unique name of a CA: at most 64 characters (RFC 5280 appendix A, ub-common-name).
pub(crate) fn ca_name(tier: Tier, key_id: &str) -> String {
    match tier {
        Tier::Root => format!("Countersign Root CA {key_id}"),
        Tier::Intermediate => format!("Countersign Sub CA {key_id}"),
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
