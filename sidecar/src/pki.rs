//! A certification authority for tests, and the credentials that it issues.

use std::sync::Arc;

use countersign_model::{
    Entitlement, EntitlementId, EntitlementKind, Lifetime, RenewalWindow, Selector, SelectorSet,
    Serial, SpiffeId, TrustDomain,
};
use countersign_verify::TrustBundle;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
    SubjectPublicKeyInfo, date_time_ymd,
};
use rustls_pki_types::CertificateDer;

use crate::holdings::Svid;
use crate::identity::Keypair;

/// Inside the validity of every certificate made here.
pub(crate) const NOW: &str = "2026-06-01T00:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) fn id(path: &str) -> SpiffeId {
    SpiffeId::new(&format!("spiffe://example.org{path}")).unwrap()
}

pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::new("example.org").unwrap()
}

pub(crate) fn serial(index: u64) -> Serial {
    Serial::new(0x01_0000, index, [7; 8]).unwrap()
}

/// The entitlement of a workload; `name` is its last hex digit.
pub(crate) fn right(name: char, path: &str, uid: u32) -> Entitlement {
    let name = format!("reg-{}{name}", "0".repeat(31));
    Entitlement {
        id: EntitlementId::parse(&name).unwrap(),
        spiffe_id: id(path),
        kind: EntitlementKind::Workload(SelectorSet::new([Selector::UnixUid(uid)]).unwrap()),
        ..node_right("/unused")
    }
}

/// The entitlement of a node to itself.
pub(crate) fn node_right(path: &str) -> Entitlement {
    Entitlement {
        id: EntitlementId::node(),
        spiffe_id: id(path),
        kind: EntitlementKind::Node,
        lifetime: std::time::Duration::from_secs(3_600),
        renew: RenewalWindow::default(),
        min_key_epoch: 0,
        hint: None,
        is_default: false,
        created_at: now(),
        created_seq: 0,
        backdate: std::time::Duration::from_secs(60),
    }
}

/// A root that issues leaves.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI("spiffe://example.org".try_into().unwrap())];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn bundle(&self) -> Arc<TrustBundle> {
        Arc::new(TrustBundle::new(trust_domain(), vec![self.root()]).unwrap())
    }

    /// A chain for a key, valid from 2025 to 2040.
    pub(crate) fn certify(
        &self,
        id: &SpiffeId,
        serial: Serial,
        spki: &[u8],
    ) -> Vec<CertificateDer<'static>> {
        self.certify_until(id, serial, spki, 2040)
    }

    /// The same, valid until the beginning of a year.
    pub(crate) fn certify_until(
        &self,
        id: &SpiffeId,
        serial: Serial,
        spki: &[u8],
        until_year: i32,
    ) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(until_year, 1, 1);
        let key = SubjectPublicKeyInfo::from_der(spki).unwrap();
        vec![params.signed_by(&key, &self.0).unwrap().der().clone()]
    }

    /// A credential whose certificate expired years ago. Whoever holds it does not know, unless
    /// `lifetime` tells.
    pub(crate) fn expired(&self, id: &SpiffeId, serial: Serial) -> Svid {
        let key = Keypair::generate().unwrap();
        Svid {
            id: id.clone(),
            chain: self.certify_until(id, serial, key.spki(), 2026),
            key: key.pkcs8().clone(),
            serial,
            lifetime: Lifetime {
                issued_at: now(),
                not_after: "2026-01-01T00:00:00Z".parse().unwrap(),
            },
        }
    }

    /// A credential with a fresh key.
    pub(crate) fn svid(&self, id: &SpiffeId, serial: Serial) -> Arc<Svid> {
        let key = Keypair::generate().unwrap();
        Arc::new(Svid {
            id: id.clone(),
            chain: self.certify(id, serial, key.spki()),
            key: key.pkcs8().clone(),
            serial,
            lifetime: Lifetime {
                issued_at: now(),
                not_after: "2040-01-01T00:00:00Z".parse().unwrap(),
            },
        })
    }
}
