//! Parameters that no template of ours makes, and certificates that were meant for others.

use std::time::Duration;

use countersign_model::SpiffeId;
use jiff::SignedDuration;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PublicKeyData, SanType,
};

use super::*;
use crate::key::key_id;
use crate::profile::Profile::{Intermediate, Issuing, Svid};

/// The rule that good bytes break when they are judged against a changed intent.
fn refusal(change: impl FnOnce(&mut Intent)) -> Option<&'static str> {
    let mut intent = Intent::new(Svid);
    let tbs = intent.seal(&intent.params());
    change(&mut intent);
    intent.judge(&tbs)
}

#[test]
fn certificate_of_another_intent_is_refused() {
    let other = SpiffeId::new("spiffe://example.org/db").unwrap();
    let second = SignedDuration::from_secs(1);
    assert_eq!(refusal(|_| ()), None);
    assert_eq!(refusal(|i| i.subject.id = other), Some("uri_san"));
    assert_eq!(refusal(|i| i.subject.dns.clear()), Some("dns_names"));
    assert_eq!(refusal(|i| i.subject.dns.reverse()), Some("dns_names"));
    let serial = Serial::new(0x01_0000, 8, [1; 8]).unwrap();
    assert_eq!(refusal(|i| i.serial = serial), Some("serial"));
    assert_eq!(refusal(|i| i.key = fresh_key()), Some("key"));
    let short = Duration::from_secs(599);
    assert_eq!(refusal(|i| i.subject.ttl = short), Some("validity"));
    assert_eq!(
        refusal(|i| i.lifetime.not_after += second),
        Some("validity")
    );
    assert_eq!(
        refusal(|i| i.issuer.not_after = now() + second),
        Some("validity_issuer")
    );
    assert_eq!(
        refusal(|i| i.issuer.not_before = now() + second),
        Some("validity_issuer")
    );
    let hour = Duration::from_secs(3_600);
    assert_eq!(refusal(|i| i.subject.times.min_ttl = hour), Some("ttl"));
    assert_eq!(refusal(|i| i.subject.times.max_ttl = short), Some("ttl"));
    assert_eq!(
        refusal(|i| i.subject.times.backdate = Duration::ZERO),
        Some("backdate")
    );
    assert_eq!(
        refusal(|i| i.issuer.key_identifier = key_id(b"other")),
        Some("authority_key_identifier")
    );
    assert_eq!(
        refusal(|i| i.issuer.common_name.push('2')),
        Some("issuer_name")
    );
}

#[test]
fn certificate_that_begins_later_than_its_issue_is_refused() {
    let second = SignedDuration::from_secs(1);
    let rule = defect(Svid, |p| p.not_before = at(now() + second));
    assert_eq!(rule, Some("validity"));
}

#[test]
fn wrong_key_usage_is_refused() {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyAgreement, KeyCertSign, KeyEncipherment};
    for usages in [
        vec![KeyEncipherment],
        vec![DigitalSignature, KeyAgreement],
        vec![DigitalSignature, KeyCertSign],
        vec![DigitalSignature, CrlSign],
    ] {
        assert_eq!(defect(Svid, |p| p.key_usages = usages), Some("key_usage"));
    }
    for usages in [
        vec![KeyCertSign],
        vec![KeyCertSign, CrlSign, DigitalSignature],
    ] {
        assert_eq!(
            defect(Issuing, |p| p.key_usages = usages),
            Some("key_usage")
        );
    }
}

#[test]
fn wrong_extended_key_usage_is_refused() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, Other, ServerAuth};
    for usages in [
        vec![ServerAuth],
        vec![ClientAuth],
        vec![ServerAuth, ClientAuth, Any],
        vec![ServerAuth, ClientAuth, CodeSigning],
        vec![ServerAuth, ClientAuth, Other(vec![1, 3, 6, 1, 4, 1])],
    ] {
        let rule = defect(Svid, |p| p.extended_key_usages = usages);
        assert_eq!(rule, Some("extended_key_usage"));
    }
}

#[test]
fn wrong_basic_constraints_are_refused() {
    let ca = |length| IsCa::Ca(BasicConstraints::Constrained(length));
    assert_eq!(defect(Svid, |p| p.is_ca = ca(0)), Some("basic_constraints"));
    let leaf = defect(Issuing, |p| p.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(leaf, Some("basic_constraints"));
    let unconstrained = IsCa::Ca(BasicConstraints::Unconstrained);
    for is_ca in [ca(1), unconstrained] {
        assert_eq!(defect(Issuing, |p| p.is_ca = is_ca), Some("path_length"));
    }
    assert_eq!(
        defect(Intermediate, |p| p.is_ca = ca(2)),
        Some("path_length")
    );
}

#[test]
fn missing_extension_is_refused() {
    let expected = Some("extensions_expected");
    assert_eq!(defect(Svid, |p| p.key_usages.clear()), expected);
    assert_eq!(defect(Svid, |p| p.extended_key_usages.clear()), expected);
    assert_eq!(defect(Svid, |p| p.is_ca = IsCa::NoCa), expected);
    assert_eq!(defect(Svid, |p| p.subject_alt_names.clear()), expected);
    let without = |p: &mut CertificateParams| p.use_authority_key_identifier_extension = false;
    assert_eq!(defect(Svid, without), expected);
}

#[test]
fn unknown_or_second_extension_is_refused() {
    let unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    let rule = defect(Svid, |p| p.custom_extensions.push(unknown));
    assert_eq!(rule, Some("extensions_expected"));
    let usages = ExtendedKeyUsagePurpose::ServerAuth;
    let rule = defect(Issuing, |p| p.extended_key_usages.push(usages));
    assert_eq!(rule, Some("extensions_expected"));
    // BasicConstraints a second time, which says what the first does not.
    let again = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xff]);
    let rule = defect(Svid, |p| p.custom_extensions.push(again));
    assert_eq!(rule, Some("extensions_once"));
}

#[test]
fn names_that_are_not_authorized_are_refused() {
    let san = |text: &str| SanType::URI(text.try_into().unwrap());
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let second = san("spiffe://example.org/db");
    let rule = defect(Svid, |p| p.subject_alt_names.push(second));
    assert_eq!(rule, Some("uri_san"));
    let address = SanType::IpAddress([127, 0, 0, 1].into());
    let rule = defect(Svid, |p| p.subject_alt_names.push(address));
    assert_eq!(rule, Some("san_kinds"));
    let rule = defect(Svid, |p| p.subject_alt_names.push(dns("db.local")));
    assert_eq!(rule, Some("dns_names"));
    for name in [
        "*.local",
        "a_b",
        "-a",
        "a-",
        "a..b",
        "10.0.0.1",
        &"a".repeat(64),
    ] {
        let rule = defect(Svid, |p| p.subject_alt_names.push(dns(name)));
        assert_eq!(rule, Some("dns_syntax"), "{name}");
    }
    let long = format!("spiffe://example.org/{}", "a".repeat(2_048));
    for uri in [
        "https://example.org/web",
        "spiffe://example.org/web/",
        "spiffe://example.org//web",
        "spiffe://example.org/../web",
        "spiffe://example.org/web?a",
        "spiffe://Example.org/web",
        &long,
    ] {
        let rule = defect(Svid, |p| p.subject_alt_names[0] = san(uri));
        assert_eq!(rule, Some("spiffe_id"), "{uri}");
    }
    let root = || san("spiffe://example.org");
    let rule = defect(Svid, |p| p.subject_alt_names[0] = root());
    assert_eq!(rule, Some("uri_san_path"));
    let rule = defect(Issuing, |p| {
        p.subject_alt_names[0] = san("spiffe://example.org/ca");
    });
    assert_eq!(rule, Some("uri_san_path"));
}

#[test]
fn leaf_with_a_subject_is_refused() {
    let name = |p: &mut CertificateParams| p.distinguished_name.push(DnType::CommonName, "web");
    assert_eq!(defect(Svid, name), Some("subject_name"));
    let name = |p: &mut CertificateParams| p.distinguished_name.push(DnType::CommonName, "ca");
    assert_eq!(defect(Issuing, name), Some("subject_name"));
    let name = |p: &mut CertificateParams| {
        p.distinguished_name.push(DnType::OrganizationName, "me");
    };
    assert_eq!(defect(Issuing, name), Some("subject_name"));
}

#[test]
fn foreign_subject_key_identifier_is_refused() {
    let other = KeyIdMethod::PreSpecified(vec![7; 20]);
    let rule = defect(Svid, |p| p.key_identifier_method = other);
    assert_eq!(rule, Some("subject_key_identifier"));
}

#[test]
fn key_of_another_kind_than_the_profile_is_refused() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let key = PublicKey::read(&pair.subject_public_key_info()).unwrap();
    for (profile, rule) in [(Svid, None), (Issuing, Some("key_kind"))] {
        let mut intent = Intent::new(profile);
        intent.key = key.clone();
        let tbs = intent.seal(&intent.params());
        assert_eq!(intent.judge(&tbs), rule, "{profile:?}");
    }
}

#[test]
fn oversized_certificate_is_refused() {
    let many = |p: &mut CertificateParams| {
        let label = "a".repeat(60);
        for index in 0..128 {
            let name = format!("{label}{index}");
            let name = SanType::DnsName(name.as_str().try_into().unwrap());
            p.subject_alt_names.push(name);
        }
    };
    assert_eq!(defect(Svid, many), Some("size"));
}

#[test]
fn leaf_never_passes_as_a_ca() {
    assert_eq!(
        refusal(|i| i.subject.profile = Issuing),
        Some("subject_name")
    );
}
