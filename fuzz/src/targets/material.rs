//! What valid values are made of.

use std::sync::{Arc, LazyLock};

use countersign_model::TrustDomain;
use countersign_verify::{BundleSet, TrustBundle};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize,
    SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 24 * 3_600;
/// Entry 5 of a log.
const SERIAL: [u8; 16] = [16, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8];

/// The time of every target.
pub(super) fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time of this century")
}

pub(super) fn trust_domain() -> TrustDomain {
    TrustDomain::new("example.org").expect("a name of ours")
}

/// One key of each kind that may be certified, made once: RSA takes its time.
pub(super) static KEYS: LazyLock<[KeyPair; 3]> = LazyLock::new(|| {
    let made = [
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    ];
    made.map(|key| key.expect("the operating system gives random bytes"))
});

/// The bundle that [`CHAIN`] verifies with.
pub(super) static BUNDLES: LazyLock<BundleSet> = LazyLock::new(|| {
    let bundle = TrustBundle::new(trust_domain(), vec![CHAIN.root.clone()]);
    [Arc::new(bundle.expect("a root of ours"))]
        .into_iter()
        .collect()
});

/// A chain that verifies.
pub(super) struct Chain {
    pub(super) leaf: CertificateDer<'static>,
    pub(super) issuing: CertificateDer<'static>,
    pub(super) root: CertificateDer<'static>,
    /// Of the root and of the issuing CA: nothing is revoked.
    pub(super) revocations: [CertificateRevocationListDer<'static>; 2],
}

pub(super) static CHAIN: LazyLock<Chain> =
    LazyLock::new(|| chain().expect("a plain chain can be made"));

fn chain() -> Result<Chain, rcgen::Error> {
    let root = CertifiedIssuer::self_signed(authority("root", 1)?, KeyPair::generate()?)?;
    let issuing =
        CertifiedIssuer::signed_by(authority("issuing", 0)?, KeyPair::generate()?, &root)?;
    let mut leaf = params("spiffe://example.org/web")?;
    leaf.serial_number = Some(SerialNumber::from_slice(&SERIAL));
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let leaf = leaf.signed_by(&KEYS[0], &issuing)?;
    Ok(Chain {
        leaf: leaf.der().clone(),
        issuing: issuing.der().clone(),
        root: root.der().clone(),
        revocations: [nothing_revoked(&root)?, nothing_revoked(&issuing)?],
    })
}

fn nothing_revoked(
    by: &CertifiedIssuer<'_, KeyPair>,
) -> Result<CertificateRevocationListDer<'static>, rcgen::Error> {
    let list = CertificateRevocationListParams {
        this_update: at(NOW - DAY)?,
        next_update: at(NOW + DAY)?,
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(by)?.der().clone())
}

/// The parameters of a CA.
pub(super) fn authority(name: &str, path_length: u8) -> Result<CertificateParams, rcgen::Error> {
    let mut params = params("spiffe://example.org")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn params(id: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.not_before = at(NOW - DAY)?;
    params.not_after = at(NOW + DAY)?;
    params.subject_alt_names = vec![SanType::URI(id.try_into()?)];
    params.distinguished_name = DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn at(second: i64) -> Result<OffsetDateTime, rcgen::Error> {
    OffsetDateTime::from_unix_timestamp(second).map_err(|_| rcgen::Error::Time)
}

/// Text, where bytes are some.
pub(super) fn text(data: &[u8]) -> Option<&str> {
    str::from_utf8(data).ok()
}

/// Valid values that are texts.
pub(super) fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
