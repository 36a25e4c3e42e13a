//! Every rule refuses what it is for: good bytes, judged against another intent.

use std::time::Duration;

use countersign_model::{Serial, SpiffeId, TrustDomain};
use jiff::SignedDuration;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PublicKeyData,
};

use super::*;
use crate::ca::keys::key_id;
use crate::ca::slots::Tier;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn subject() -> Subject {
    let domain = TrustDomain::new("example.org").unwrap();
    let mut subject = Subject::server(&domain, Duration::from_secs(600));
    subject.id = SpiffeId::new("spiffe://example.org/web").unwrap();
    subject.dns = vec!["web.local".to_owned()];
    subject
}

fn issuer() -> Issuer {
    let hour = SignedDuration::from_hours(1);
    Issuer {
        key_id: key_id(b"issuer"),
        common_name: profile::ca_name(Tier::Issuing, &key_id(b"issuer")),
        not_before: now() - hour,
        not_after: now() + hour,
    }
}

fn spki() -> Vec<u8> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    pair.subject_public_key_info()
}

/// What was meant, so that a test can change it after the bytes were built.
struct Intent {
    subject: Subject,
    issuer: Issuer,
    spki: Vec<u8>,
    lifetime: Lifetime,
    serial: Serial,
}

fn refusal(change: impl FnOnce(&mut Intent)) -> Option<&'static str> {
    let (subject, issuer, spki) = (subject(), issuer(), spki());
    let mut intent = Intent {
        lifetime: lifetime(&subject, &issuer, now()).unwrap(),
        serial: Serial::new(0x01_0000, 7, [1; 8]).unwrap(),
        subject,
        issuer,
        spki,
    };
    let key = lint::key::parse(&intent.spki).unwrap();
    let Intent {
        subject,
        issuer,
        lifetime,
        serial,
        ..
    } = &intent;
    let tbs = template::build(subject, &key, *serial, issuer, lifetime).unwrap();
    change(&mut intent);
    let candidate = lint::Candidate {
        subject: &intent.subject,
        spki: &intent.spki,
        issuer: &intent.issuer,
        lifetime: &intent.lifetime,
        serial: intent.serial,
    };
    lint::check(&tbs, &candidate)
        .err()
        .map(|finding| finding.rule)
}

#[test]
fn certificate_as_meant_passes() {
    assert_eq!(refusal(|_| ()), None);
}

#[test]
fn certificate_of_another_intent_is_refused() {
    let other = SpiffeId::new("spiffe://example.org/db").unwrap();
    let second = SignedDuration::from_secs(1);
    assert_eq!(refusal(|i| i.subject.id = other), Some("uri_san"));
    assert_eq!(refusal(|i| i.subject.dns.clear()), Some("names"));
    assert_eq!(
        refusal(|i| i.serial = Serial::new(0x01_0000, 8, [1; 8]).unwrap()),
        Some("serial")
    );
    assert_eq!(refusal(|i| i.spki = spki()), Some("key"));
    assert_eq!(
        refusal(|i| i.subject.ttl = Duration::from_secs(599)),
        Some("validity")
    );
    assert_eq!(
        refusal(|i| i.lifetime.not_after += second),
        Some("validity")
    );
    assert_eq!(
        refusal(|i| i.issuer.not_after = now() + second),
        Some("validity_issuer")
    );
    assert_eq!(
        refusal(|i| i.issuer.key_id = key_id(b"other")),
        Some("authority_key_identifier")
    );
    assert_eq!(
        refusal(|i| i.subject.foreign_keys.push(key_id(&i.spki))),
        Some("key_of_a_ca")
    );
}

/// The rule that a leaf breaks whose parameters were changed before its bytes were built.
fn defect(change: impl FnOnce(&mut CertificateParams)) -> Option<&'static str> {
    let (subject, issuer, spki) = (subject(), issuer(), spki());
    let lifetime = lifetime(&subject, &issuer, now()).unwrap();
    let serial = Serial::new(0x01_0000, 7, [1; 8]).unwrap();
    let key = lint::key::parse(&spki).unwrap();
    let mut params = template::params(&subject, &key, serial, &issuer, &lifetime).unwrap();
    change(&mut params);
    let tbs = template::seal(&params, &key, &issuer).unwrap();
    let candidate = lint::Candidate {
        subject: &subject,
        spki: &spki,
        issuer: &issuer,
        lifetime: &lifetime,
        serial,
    };
    lint::check(&tbs, &candidate)
        .err()
        .map(|finding| finding.rule)
}

#[test]
fn leaf_without_a_defect_passes() {
    assert_eq!(defect(|_| ()), None);
}

#[test]
fn wrong_key_usage_is_refused() {
    for usages in [
        vec![],
        vec![KeyUsagePurpose::KeyEncipherment],
        vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
        ],
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign],
    ] {
        assert_eq!(defect(|p| p.key_usages = usages), Some("key_usage"));
    }
}

#[test]
fn wrong_extended_key_usage_is_refused() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, Other, ServerAuth};
    for usages in [
        vec![],
        vec![ServerAuth],
        vec![ClientAuth],
        vec![ServerAuth, ClientAuth, Any],
        vec![ServerAuth, ClientAuth, CodeSigning],
        vec![ServerAuth, ClientAuth, Other(vec![1, 3, 6, 1, 4, 1])],
    ] {
        let rule = defect(|p| p.extended_key_usages = usages);
        assert_eq!(rule, Some("extended_key_usage"));
    }
}

#[test]
fn wrong_basic_constraints_are_refused() {
    for is_ca in [
        IsCa::NoCa,
        IsCa::Ca(BasicConstraints::Unconstrained),
        IsCa::Ca(BasicConstraints::Constrained(0)),
    ] {
        assert_eq!(defect(|p| p.is_ca = is_ca), Some("basic_constraints"));
    }
}

#[test]
fn leaf_never_passes_as_a_ca() {
    let rule = refusal(|i| i.subject.profile = Profile::Issuing);
    assert_eq!(rule, Some("uri_san_path"));
}

#[test]
fn keys_of_other_kinds_are_refused() {
    for kind in [&PKCS_ECDSA_P521_SHA512, &PKCS_ED25519] {
        let spki = KeyPair::generate_for(kind)
            .unwrap()
            .subject_public_key_info();
        let key = lint::key::parse(&spki).unwrap();
        let (subject, issuer) = (subject(), issuer());
        let lifetime = lifetime(&subject, &issuer, now()).unwrap();
        let serial = Serial::new(0x01_0000, 7, [1; 8]).unwrap();
        let tbs = template::build(&subject, &key, serial, &issuer, &lifetime).unwrap();
        let candidate = lint::Candidate {
            subject: &subject,
            spki: &spki,
            issuer: &issuer,
            lifetime: &lifetime,
            serial,
        };
        assert_eq!(lint::check(&tbs, &candidate).unwrap_err().rule, "key");
    }
    for junk in [&[][..], &[0x30, 0x80], &[0xff; 91]] {
        assert!(lint::key::parse(junk).is_err());
    }
    let mut trailing = spki();
    trailing.push(0);
    assert!(lint::key::parse(&trailing).is_err());
}
