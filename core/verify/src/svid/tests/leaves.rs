//! Rules that a leaf can break.

use countersign_model::IdRule;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use sha2::{Digest, Sha256};
use time::Duration;

use super::*;
use crate::pki::{
    EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_ALT_NAME, WEB, at, extension, leaf_params, uri,
};

#[test]
fn a_good_leaf_says_what_it_holds() {
    let world = World::shared();
    let svid = judge(&world.chain(|_| {})).unwrap();
    assert_eq!(svid.id.as_str(), WEB);
    assert_eq!(svid.serial, [7]);
    assert_eq!(svid.not_after.as_second(), now().as_second() + 3600);
    let spki = rcgen::PublicKeyData::subject_public_key_info(&world.key);
    assert_eq!(svid.spki_sha256[..], Sha256::digest(spki)[..]);
}

#[test]
fn other_kinds_of_san_are_allowed() {
    let dns = || SanType::DnsName("web.local".try_into().unwrap());
    let chain = World::shared().chain(|leaf| leaf.subject_alt_names.push(dns()));
    assert_eq!(judge(&chain).unwrap().id.as_str(), WEB);
}

#[test]
fn reserved_ids_are_verified_like_others() {
    let id = "spiffe://example.org/countersign/control-plane";
    let chain = World::shared().chain(|leaf| leaf.subject_alt_names = vec![uri(id)]);
    assert_eq!(judge(&chain).unwrap().id.as_str(), id);
}

#[test]
fn two_uri_sans_are_refused() {
    for second in [WEB, "spiffe://example.org/db", "https://example.org/"] {
        let refusal = refusal_of_leaf(|leaf| leaf.subject_alt_names.push(uri(second)));
        assert_eq!(refusal, Refusal::ManyUriSans { count: 2 });
    }
}

#[test]
fn no_uri_san_is_refused() {
    let dns = SanType::DnsName("example.org".try_into().unwrap());
    assert_eq!(
        refusal_of_leaf(|leaf| leaf.subject_alt_names = vec![dns]),
        Refusal::NoUriSan
    );
    let refusal = refusal_of_leaf(|leaf| {
        leaf.subject_alt_names.clear();
        leaf.distinguished_name.push(rcgen::DnType::CommonName, WEB);
    });
    assert_eq!(refusal, Refusal::NoUriSan);
}

#[test]
fn malformed_ids_are_refused() {
    for (id, rule) in [
        ("spiffe://example.org/a/../web", IdRule::DotSegment),
        ("spiffe://example.org/%77eb", IdRule::PathCharacter),
        ("spiffe://example.org/we\0b", IdRule::PathCharacter),
        ("spiffe://example.org/web?x", IdRule::PathCharacter),
        ("spiffe://EXAMPLE.org/web", IdRule::TrustDomainCharacter),
        ("SPIFFE://example.org/web", IdRule::Scheme),
        ("https://example.org/web", IdRule::Scheme),
        ("spiffe://example.org/web/", IdRule::TrailingSlash),
        ("spiffe://example.org//web", IdRule::EmptySegment),
        ("spiffe://example.org", IdRule::MissingPath),
    ] {
        let refusal = refusal_of_leaf(|leaf| leaf.subject_alt_names = vec![uri(id)]);
        assert_eq!(refusal, Refusal::SpiffeId(rule.into()), "{id:?}");
    }
}

#[test]
fn a_san_that_does_not_parse_is_refused() {
    // SEQUENCE { [6] 0xff }: a URI that is no text.
    let refusal = refusal_of_leaf(|leaf| {
        leaf.subject_alt_names.clear();
        leaf.custom_extensions = vec![extension(SUBJECT_ALT_NAME, true, b"\x30\x03\x86\x01\xff")];
    });
    assert!(
        matches!(refusal, Refusal::MalformedExtension { index: 0, .. }),
        "{refusal}"
    );
}

#[test]
fn an_empty_subject_needs_a_critical_san() {
    let san = |critical| {
        let value = [&[0x30, 26, 0x86, 24], WEB.as_bytes()].concat();
        extension(SUBJECT_ALT_NAME, critical, &value)
    };
    let chain = |critical| {
        World::shared().chain(|leaf| {
            leaf.subject_alt_names.clear();
            leaf.custom_extensions = vec![san(critical)];
        })
    };
    assert!(judge(&chain(true)).is_ok());
    assert_eq!(judge(&chain(false)), Err(Refusal::SanNotCritical));
}

#[test]
fn a_ca_as_leaf_is_refused() {
    let refusal = refusal_of_leaf(|leaf| {
        leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    assert_eq!(refusal, Refusal::LeafIsCa);
}

#[test]
fn signing_rights_on_a_leaf_are_refused() {
    let with = |usage| refusal_of_leaf(|leaf| leaf.key_usages.push(usage));
    assert_eq!(
        with(KeyUsagePurpose::KeyCertSign),
        Refusal::LeafMaySignCertificates
    );
    assert_eq!(with(KeyUsagePurpose::CrlSign), Refusal::LeafMaySignCrls);
}

#[test]
fn missing_key_usage_is_refused() {
    let refusal = refusal_of_leaf(|leaf| leaf.key_usages.clear());
    assert_eq!(refusal, Refusal::NoKeyUsage { index: 0 });
    let refusal = refusal_of_leaf(|leaf| leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement]);
    assert_eq!(refusal, Refusal::NoDigitalSignature);
}

#[test]
fn key_usage_must_be_critical() {
    let chain = |critical| {
        World::shared().chain(|leaf| {
            leaf.key_usages.clear();
            leaf.custom_extensions = vec![extension(KEY_USAGE, critical, &[3, 2, 7, 0x80])];
        })
    };
    assert!(judge(&chain(true)).is_ok());
    assert_eq!(judge(&chain(false)), Err(Refusal::KeyUsageNotCritical));
}

#[test]
fn an_extension_that_comes_twice_is_refused() {
    let twice = extension(KEY_USAGE, true, &[3, 2, 7, 0x80]);
    let refusal = refusal_of_leaf(|leaf| leaf.custom_extensions = vec![twice]);
    assert_eq!(refusal, Refusal::DuplicateExtension { index: 0 });
}

#[test]
fn extended_key_usage_needs_both_sides() {
    for purposes in [
        vec![ExtendedKeyUsagePurpose::CodeSigning],
        vec![ExtendedKeyUsagePurpose::ServerAuth],
        vec![ExtendedKeyUsagePurpose::ClientAuth],
        vec![ExtendedKeyUsagePurpose::Any],
        vec![ExtendedKeyUsagePurpose::Other(vec![1, 2, 3])],
    ] {
        let refusal = refusal_of_leaf(|leaf| leaf.extended_key_usages = purposes);
        assert_eq!(refusal, Refusal::ExtendedKeyUsage);
    }
    let absent = World::shared().chain(|leaf| leaf.extended_key_usages.clear());
    assert!(judge(&absent).is_ok());
}

#[test]
fn empty_extended_key_usage_is_refused() {
    let refusal = refusal_of_leaf(|leaf| {
        leaf.extended_key_usages.clear();
        leaf.custom_extensions = vec![extension(EXTENDED_KEY_USAGE, false, &[0x30, 0])];
    });
    assert_eq!(refusal, Refusal::EmptyExtendedKeyUsage);
}

#[test]
fn unknown_critical_extensions_are_refused() {
    let unknown = |critical| extension(&[1, 2, 3, 4], critical, &[5, 0]);
    let ignored = World::shared().chain(|leaf| leaf.custom_extensions = vec![unknown(false)]);
    assert!(judge(&ignored).is_ok());
    let refusal = refusal_of_leaf(|leaf| leaf.custom_extensions = vec![unknown(true)]);
    let oid = "1.2.3.4".to_owned();
    assert_eq!(refusal, Refusal::UnknownCriticalExtension { index: 0, oid });
}

#[test]
fn validity_is_exact_to_the_second() {
    let (before, after) = (at(Duration::seconds(-5)), at(Duration::seconds(5)));
    let chain = World::shared().chain(|leaf| (leaf.not_before, leaf.not_after) = (before, after));
    let judged = |seconds: i64| {
        let now = Timestamp::from_second(now().as_second() + seconds).unwrap();
        verify_svid(&chain, &World::shared().bundles(), &[], now).map_err(|refusal| refusal.code())
    };
    assert_eq!(judged(-6), Err("not_yet_valid"));
    assert!(judged(-5).is_ok() && judged(5).is_ok());
    assert_eq!(judged(6), Err("expired"));
}

#[test]
fn a_leaf_without_end_is_readable() {
    let far = time::OffsetDateTime::from_unix_timestamp(253_402_300_799).unwrap();
    let chain = World::shared().chain(|leaf| leaf.not_after = far);
    assert_eq!(judge(&chain).unwrap().not_after, Timestamp::MAX);
}

#[test]
fn weak_and_unknown_keys_are_refused() {
    let world = World::shared();
    let judged = |key: &RawKey| {
        let leaf = leaf_params(WEB)
            .signed_by(key, &world.issuing.issuer())
            .unwrap();
        judge(&[leaf.der().clone(), world.issuing.der.clone()])
    };
    assert!(judged(&RawKey::rsa(2048)).is_ok());
    for bits in [1024, 2040, 8200] {
        let refusal = Refusal::WeakKey { index: 0, bits };
        assert_eq!(judged(&RawKey::rsa(bits)), Err(refusal));
    }
    let good = KeyPair::generate().unwrap();
    let point = rcgen::PublicKeyData::der_bytes(&good);
    let compressed = RawKey::p256([&[2], &point[1..33]].concat());
    assert!(judged(&RawKey::p256(point.to_vec())).is_ok());
    assert_eq!(
        judged(&compressed),
        Err(Refusal::UnsupportedKey { index: 0 })
    );
}

/// A public key of any content.
struct RawKey(&'static rcgen::SignatureAlgorithm, Vec<u8>);

impl RawKey {
    /// A modulus of exactly this length, exponent 65537, as RSAPublicKey (RFC 8017 A.1.1).
    fn rsa(bits: usize) -> Self {
        let mut modulus = vec![0];
        modulus.resize(1 + bits / 8, 0xff);
        let integers = [tlv(2, &modulus), tlv(2, &[1, 0, 1])].concat();
        Self(&rcgen::PKCS_RSA_SHA256, tlv(0x30, &integers))
    }

    fn p256(point: Vec<u8>) -> Self {
        Self(&rcgen::PKCS_ECDSA_P256_SHA256, point)
    }
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let head = match (value.len(), length) {
        (..128, [_, short]) => vec![tag, short],
        (..256, [_, one]) => vec![tag, 0x81, one],
        (_, [high, low]) => vec![tag, 0x82, high, low],
    };
    [head, value.to_vec()].concat()
}

impl rcgen::PublicKeyData for RawKey {
    fn der_bytes(&self) -> &[u8] {
        &self.1
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0
    }
}
