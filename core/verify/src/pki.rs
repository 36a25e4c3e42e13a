//! A small PKI for the tests of this crate: one trust domain, a root, an issuing CA, leaves.
//!
//! Whatever it makes is good; a test takes it and adds the one defect that it is about.

use std::sync::{Arc, LazyLock};

use countersign_model::TrustDomain;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use time::{Duration, OffsetDateTime};

use crate::{BundleSet, TrustBundle};

pub(crate) const WEB: &str = "spiffe://example.org/web";
pub(crate) const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
pub(crate) const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
pub(crate) const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
pub(crate) const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
pub(crate) const NAME_CONSTRAINTS: &[u64] = &[2, 5, 29, 30];

/// The moment at which every test judges.
pub(crate) fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

pub(crate) fn at(offset: Duration) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(now().as_second()).unwrap() + offset
}

pub(crate) fn trust_domain(name: &str) -> TrustDomain {
    TrustDomain::new(name).unwrap()
}

/// A CA and its certificate.
pub(crate) struct Ca {
    pub(crate) der: CertificateDer<'static>,
    params: CertificateParams,
    key: KeyPair,
}

impl Ca {
    pub(crate) fn root(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { der, params, key }
    }

    pub(crate) fn issue_ca(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let der = params
            .signed_by(&key, &self.issuer())
            .unwrap()
            .der()
            .clone();
        Self { der, params, key }
    }

    pub(crate) fn issue(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
    ) -> CertificateDer<'static> {
        params.signed_by(key, &self.issuer()).unwrap().der().clone()
    }

    /// A CRL that runs out `valid` after [`now`].
    pub(crate) fn crl(
        &self,
        serials: &[u8],
        valid: Duration,
    ) -> CertificateRevocationListDer<'static> {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: at(Duration::hours(-2)),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at(Duration::hours(-1)),
            next_update: at(valid),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer()).unwrap().der().clone()
    }

    /// The same CA, as a signer that does not look at its own key usage.
    pub(crate) fn unrestricted(ca: &Self) -> Self {
        let mut params = ca.params.clone();
        params.key_usages.clear();
        let key = KeyPair::from_pem(&ca.key.serialize_pem()).unwrap();
        let der = ca.der.clone();
        Self { der, params, key }
    }

    pub(crate) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// One trust domain: a root, an issuing CA under it and a key for leaves.
pub(crate) struct World {
    pub(crate) root: Ca,
    pub(crate) issuing: Ca,
    pub(crate) key: KeyPair,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        let root = Ca::root(&format!("{name} root"), |_| {});
        let issuing = root.issue_ca(&format!("{name} issuing"), |_| {});
        let key = KeyPair::generate().unwrap();
        Self { root, issuing, key }
    }

    /// The world that tests share when they do not change it.
    pub(crate) fn shared() -> &'static Self {
        static WORLD: LazyLock<World> = LazyLock::new(|| World::new("example.org"));
        &WORLD
    }

    /// A chain for [`WEB`] whose leaf has one change.
    pub(crate) fn chain(
        &self,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<CertificateDer<'static>> {
        let mut params = leaf_params(WEB);
        change(&mut params);
        vec![
            self.issuing.issue(&params, &self.key),
            self.issuing.der.clone(),
        ]
    }

    pub(crate) fn bundles(&self) -> BundleSet {
        bundles(&[("example.org", &self.root)])
    }
}

pub(crate) fn bundles(roots: &[(&str, &Ca)]) -> BundleSet {
    let bundle = |(name, root): &(&str, &Ca)| {
        Arc::new(TrustBundle::new(trust_domain(name), vec![root.der.clone()]).unwrap())
    };
    roots.iter().map(bundle).collect()
}

pub(crate) fn leaf_params(id: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![uri(id)];
    params.not_before = at(Duration::minutes(-1));
    params.not_after = at(Duration::hours(1));
    params.serial_number = Some(SerialNumber::from_slice(&[7]));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = at(Duration::hours(-1));
    params.not_after = at(Duration::days(1));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn extension(oid: &[u64], critical: bool, value: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, value.to_vec());
    extension.set_criticality(critical);
    extension
}
