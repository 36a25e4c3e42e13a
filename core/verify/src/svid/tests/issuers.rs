//! Rules that an issuer in the chain can break.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyUsagePurpose, NameConstraints,
};
use time::Duration;

use super::*;
use crate::pki::{BASIC_CONSTRAINTS, Ca, NAME_CONSTRAINTS, WEB, at, extension, leaf_params, uri};

/// Judges a leaf under an intermediate with this one change.
fn judge_under(change: impl FnOnce(&mut CertificateParams)) -> Result<VerifiedSvid, Refusal> {
    let world = World::shared();
    let issuing = world.root.issue_ca("changed issuing", change);
    let leaf = issuing.issue(&leaf_params(WEB), &world.key);
    judge(&[leaf, issuing.der])
}

fn refusal_under(defect: impl FnOnce(&mut CertificateParams)) -> Refusal {
    judge_under(|_| {}).expect("the chain without the defect is accepted");
    judge_under(defect).expect_err("the chain with the defect is refused")
}

#[test]
fn an_issuer_that_is_no_ca_is_refused() {
    // rcgen signs for a non-CA only if the extension is absent or says so explicitly.
    for not_a_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let refusal = refusal_under(|issuer| issuer.is_ca = not_a_ca);
        assert_eq!(refusal, Refusal::IssuerIsNotCa { index: 1 });
    }
}

#[test]
fn an_issuer_without_key_cert_sign_is_refused() {
    let refusal = refusal_under(|issuer| issuer.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(refusal, Refusal::IssuerMayNotSign { index: 1 });
    let refusal = refusal_under(|issuer| issuer.key_usages.clear());
    assert_eq!(refusal, Refusal::NoKeyUsage { index: 1 });
}

#[test]
fn an_issuer_of_other_purposes_is_refused() {
    let only = ExtendedKeyUsagePurpose::CodeSigning;
    let refusal = refusal_under(|issuer| issuer.extended_key_usages = vec![only]);
    assert_eq!(refusal, Refusal::IssuerPurposes { index: 1 });
    let any = ExtendedKeyUsagePurpose::Any;
    assert!(judge_under(|issuer| issuer.extended_key_usages = vec![any]).is_ok());
}

#[test]
fn an_issuer_id_is_that_of_the_trust_domain() {
    let with = |id: &str| judge_under(|issuer| issuer.subject_alt_names = vec![uri(id)]);
    assert!(with("spiffe://example.org").is_ok());
    for id in ["spiffe://example.org/ca", "https://example.org"] {
        assert_eq!(with(id), Err(Refusal::IssuerSpiffeId { index: 1 }));
    }
    let trust_domain = crate::pki::trust_domain("other.org");
    let foreign = Refusal::IssuerOfOtherTrustDomain {
        index: 1,
        trust_domain,
    };
    assert_eq!(with("spiffe://other.org"), Err(foreign));
}

#[test]
fn uri_name_constraints_are_refused() {
    // SEQUENCE { [0] { SEQUENCE { [6] "example.org" } } }
    let subtree = [&[0x30, 13, 0x86, 11], b"example.org".as_slice()].concat();
    for tag in [0xa0, 0xa1] {
        let value = [&[0x30, 17, tag, 15], subtree.as_slice()].concat();
        let constraints = extension(NAME_CONSTRAINTS, true, &value);
        let refusal = refusal_under(|issuer| issuer.custom_extensions = vec![constraints]);
        assert_eq!(refusal, Refusal::UriNameConstraints { index: 1 });
    }
    let dns = NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".into())],
        excluded_subtrees: vec![],
    };
    assert!(judge_under(|issuer| issuer.name_constraints = Some(dns)).is_ok());
}

#[test]
fn an_issuer_outside_its_validity_is_refused() {
    let past = at(Duration::seconds(-1));
    let refusal = refusal_under(|issuer| issuer.not_after = past);
    assert!(matches!(refusal, Refusal::Expired { index: 1, .. }));
    let future = at(Duration::seconds(1));
    let refusal = refusal_under(|issuer| issuer.not_before = future);
    assert!(matches!(refusal, Refusal::NotYetValid { index: 1, .. }));
}

#[test]
fn unknown_critical_extensions_of_issuers_are_refused() {
    let unknown = extension(&[1, 2, 3], true, &[5, 0]);
    let refusal = refusal_under(|issuer| issuer.custom_extensions = vec![unknown]);
    assert_eq!(refusal.code(), "unknown_critical_extension");
}

#[test]
fn basic_constraints_that_do_not_parse_are_refused() {
    let broken = extension(BASIC_CONSTRAINTS, true, &[0x30, 3, 1, 1]);
    let refusal = refusal_under(|issuer| {
        issuer.is_ca = IsCa::NoCa;
        issuer.custom_extensions = vec![broken];
    });
    assert_eq!(refusal.code(), "malformed_extension");
}

/// Judges leaf ← issuing ← upper ← root where `upper` or the root has this path length.
fn judge_three(root_len: BasicConstraints, upper_len: BasicConstraints) -> Result<(), Refusal> {
    let root = Ca::root("limited root", |ca| ca.is_ca = IsCa::Ca(root_len));
    let upper = root.issue_ca("upper", |ca| ca.is_ca = IsCa::Ca(upper_len));
    let issuing = upper.issue_ca("lower", |_| {});
    let leaf = issuing.issue(&leaf_params(WEB), &World::shared().key);
    let bundles = crate::pki::bundles(&[("example.org", &root)]);
    verify_svid(&[leaf, issuing.der, upper.der], &bundles, &[], now()).map(drop)
}

#[test]
fn path_lengths_hold_for_roots_and_intermediates() {
    let (free, one) = (
        BasicConstraints::Unconstrained,
        BasicConstraints::Constrained,
    );
    assert_eq!(judge_three(one(2), one(1)), Ok(()));
    assert_eq!(judge_three(free, one(0)), Err(Refusal::PathTooLong));
    assert_eq!(judge_three(one(1), free), Err(Refusal::PathTooLong));
}

#[test]
fn an_expired_root_is_no_root() {
    let judged = |end| {
        let root = Ca::root("short root", |ca| ca.not_after = at(end));
        let leaf = root.issue(&leaf_params(WEB), &World::shared().key);
        let bundles = crate::pki::bundles(&[("example.org", &root)]);
        verify_svid(&[leaf], &bundles, &[], now()).map(drop)
    };
    assert_eq!(judged(Duration::seconds(1)), Ok(()));
    assert_eq!(judged(Duration::seconds(-1)), Err(Refusal::RootNotValid));
}
