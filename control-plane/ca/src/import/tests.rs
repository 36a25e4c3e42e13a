//! Good answers to a request, and one change at a time.

use jiff::SignedDuration;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose,
    NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize, SanType,
};
use time::OffsetDateTime;

use super::*;

const NAME: &str = "Countersign Sub CA 0123";
const DAY: i64 = 86_400;
/// OBJECT IDENTIFIERs, DER (RFC 8017 appendix C).
const SHA_256_WITH_RSA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const SHA_1_WITH_RSA: [u8; 11] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5];

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn at(secs: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(now().as_second() + secs).unwrap()
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn params(name: &str, path_length: BasicConstraints, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(path_length);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (at(-DAY), at(days * DAY));
    params
}

/// What is imported, and how each part can be changed before it is signed.
struct Case {
    root: CertificateParams,
    intermediate: CertificateParams,
    key: KeyPair,
    asked: Vec<u8>,
    needed_until: Timestamp,
}

impl Case {
    fn new() -> Self {
        let key = key();
        Self {
            root: params("Root", BasicConstraints::Constrained(2), 3_650),
            intermediate: params(NAME, BasicConstraints::Constrained(1), 365),
            asked: key.subject_public_key_info(),
            key,
            needed_until: now() + SignedDuration::from_hours(24),
        }
    }

    fn judge(self) -> Result<Imported, ImportError> {
        let root = CertifiedIssuer::self_signed(self.root.clone(), key()).unwrap();
        self.judge_under(&root, root.der())
    }

    fn judge_under(
        &self,
        signer: &CertifiedIssuer<'_, KeyPair>,
        root: &CertificateDer<'static>,
    ) -> Result<Imported, ImportError> {
        let signed = self.intermediate.signed_by(&self.key, signer).unwrap();
        self.judge_chain(&[signed.der().clone()], root)
    }

    fn judge_chain(
        &self,
        chain: &[CertificateDer<'static>],
        root: &CertificateDer<'static>,
    ) -> Result<Imported, ImportError> {
        let expected = Expected {
            spki: &self.asked,
            common_name: NAME,
            trust_domain: &TrustDomain::new("example.org").unwrap(),
            needed_until: self.needed_until,
            now: now(),
        };
        judge(chain, root, &expected)
    }
}

/// The certificate and rule that refuse a changed case.
fn refusal(change: impl FnOnce(&mut Case)) -> (&'static str, &'static str) {
    let mut case = Case::new();
    change(&mut case);
    let error = case.judge().unwrap_err();
    (error.what, error.rule)
}

fn of_intermediate(rule: &'static str, change: impl FnOnce(&mut CertificateParams)) {
    let refused = refusal(|case| change(&mut case.intermediate));
    assert_eq!(refused, ("intermediate", rule));
}

fn of_root(rule: &'static str, change: impl FnOnce(&mut CertificateParams)) {
    assert_eq!(refusal(|case| change(&mut case.root)), ("root", rule));
}

/// The same certificate as signed with SHA-1: the algorithm is judged before the signature.
fn with_sha_1(der: &CertificateDer<'_>) -> CertificateDer<'static> {
    let (sha_256, sha_1) = (SHA_256_WITH_RSA, SHA_1_WITH_RSA);
    let mut der = der.to_vec();
    let places: Vec<_> = (0..der.len() - sha_256.len())
        .filter(|at| der[*at..].starts_with(&sha_256))
        .collect();
    assert_eq!(
        places.len(),
        2,
        "once that is signed, and once beside the signature"
    );
    for at in places {
        der[at..at + sha_1.len()].copy_from_slice(&sha_1);
    }
    der.into()
}

#[test]
fn signature_of_sha_1_is_named() {
    let case = Case::new();
    let rsa = || KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let root = CertifiedIssuer::self_signed(case.root.clone(), rsa()).unwrap();
    case.judge_under(&root, root.der()).unwrap();
    let of_root = case
        .judge_under(&root, &with_sha_1(root.der()))
        .unwrap_err();
    let signed = case.intermediate.signed_by(&case.key, &root).unwrap();
    let chain = [with_sha_1(signed.der())];
    let of_intermediate = case.judge_chain(&chain, root.der()).unwrap_err();
    for (error, what) in [(of_root, "root"), (of_intermediate, "intermediate")] {
        assert_eq!(
            (error.what, error.rule),
            (what, "import_signature_algorithm")
        );
        assert!(error.problem.contains("SHA-1"), "{error}");
        assert!(error.remedy.contains("SHA-256"), "{}", error.remedy);
    }
}

#[test]
fn good_answer_is_taken() {
    let case = Case::new();
    let key_id = countersign_issue::key::key_id(&case.asked);
    let imported = case.judge().unwrap();
    assert_eq!(imported.intermediate.key_id, key_id);
    assert_eq!(
        imported.intermediate.not_after.as_second(),
        at(365 * DAY).unix_timestamp()
    );
    assert_ne!(imported.root.key_id, key_id);
}

#[test]
fn absent_path_lengths_are_taken() {
    let mut case = Case::new();
    case.root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    case.intermediate.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    case.judge().unwrap();
}

#[test]
fn key_and_name_are_those_of_the_request() {
    assert_eq!(
        refusal(|case| case.asked = key().subject_public_key_info()),
        ("intermediate", "import_other_key")
    );
    of_intermediate("import_subject", |it| {
        it.distinguished_name.push(DnType::OrganizationName, "ACME");
    });
    of_intermediate("import_subject", |it| {
        it.distinguished_name = DistinguishedName::new();
        let printable = NAME.try_into().unwrap();
        let value = DnValue::PrintableString(printable);
        it.distinguished_name.push(DnType::CommonName, value);
    });
}

#[test]
fn no_ca_is_refused() {
    of_intermediate("import_not_a_ca", |it| it.is_ca = IsCa::ExplicitNoCa);
    of_root("import_not_a_ca", |it| it.is_ca = IsCa::ExplicitNoCa);
}

#[test]
fn short_path_lengths_are_refused() {
    of_intermediate("import_path_length", |it| {
        it.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    of_root("import_path_length", |it| {
        it.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    });
}

#[test]
fn key_that_may_not_sign_is_refused() {
    of_intermediate("import_key_usage", |it| {
        it.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    of_root("import_key_usage", |it| it.key_usages = Vec::new());
}

#[test]
fn name_constraints_are_refused() {
    let constraints = || NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
        excluded_subtrees: Vec::new(),
    };
    of_intermediate("import_name_constraints", |it| {
        it.name_constraints = Some(constraints());
    });
    of_root("import_name_constraints", |it| {
        it.name_constraints = Some(constraints());
    });
}

#[test]
fn what_the_verifier_would_refuse_is_refused() {
    let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
    let rule = "import_refused_by_verifier";
    of_intermediate(rule, |it| {
        it.subject_alt_names = vec![uri("spiffe://other.org")];
    });
    of_intermediate(rule, |it| {
        it.subject_alt_names = vec![uri("spiffe://example.org/web")];
    });
    of_intermediate(rule, |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    of_intermediate(rule, |it| {
        let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        it.custom_extensions = vec![unknown];
    });
    let mut own = Case::new();
    own.intermediate.subject_alt_names = vec![uri("spiffe://example.org")];
    own.judge().unwrap();
}

#[test]
fn lifetimes_must_fit() {
    of_intermediate("import_validity", |it| it.not_before = at(60));
    of_root("import_validity", |it| it.not_after = at(-1));
    of_intermediate("import_outlives_root", |it| it.not_after = at(3_651 * DAY));
    of_intermediate("import_too_short", |it| it.not_after = at(DAY - 1));
}

#[test]
fn signatures_lead_to_the_root() {
    let case = Case::new();
    let root = CertifiedIssuer::self_signed(case.root.clone(), key()).unwrap();
    let twin = CertifiedIssuer::self_signed(case.root.clone(), key()).unwrap();
    let forged = case.judge_under(&twin, root.der()).unwrap_err();
    assert_eq!(forged.rule, "import_other_root");
    let mut case_under = Case::new();
    case_under.root = params("Other", BasicConstraints::Constrained(2), 3_650);
    let other = CertifiedIssuer::self_signed(case_under.root.clone(), key()).unwrap();
    let elsewhere = case.judge_under(&other, root.der()).unwrap_err();
    assert_eq!(elsewhere.rule, "import_other_root");
    let crossed = case.root.signed_by(&key(), &other).unwrap();
    let crossed = case.judge_under(&root, crossed.der()).unwrap_err();
    assert_eq!(crossed.rule, "import_root_not_self_signed");
}

#[test]
fn chain_is_one_certificate_and_its_root() {
    let case = Case::new();
    let root = CertifiedIssuer::self_signed(case.root.clone(), key()).unwrap();
    let signed = case.intermediate.signed_by(&case.key, &root).unwrap();
    let (signed, root) = (signed.der().clone(), root.der().clone());
    case.judge_chain(&[signed.clone(), root.clone()], &root)
        .unwrap();
    for chain in [
        &[][..],
        &[signed.clone(), signed.clone()],
        &[signed.clone(), root.clone(), root.clone()],
    ] {
        let refused = case.judge_chain(chain, &root).unwrap_err();
        assert_eq!(refused.rule, "import_chain");
    }
}

#[test]
fn what_is_no_certificate_is_refused() {
    let case = Case::new();
    let root = CertifiedIssuer::self_signed(case.root.clone(), key()).unwrap();
    let signed = case.intermediate.signed_by(&case.key, &root).unwrap();
    let der = signed.der().to_vec();
    let trailing = [&der[..], &[0]].concat();
    let cut = der[..der.len() - 1].to_vec();
    for bytes in [trailing, cut, Vec::new(), vec![0x30; 20_000]] {
        let refused = case.judge_chain(&[bytes.clone().into()], root.der());
        assert_eq!(refused.unwrap_err().rule, "import_malformed");
        let refused = case.judge_chain(&[der.clone().into()], &bytes.into());
        assert_eq!(refused.unwrap_err().rule, "import_malformed");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let case = Case::new();
    let root = CertifiedIssuer::self_signed(case.root.clone(), key()).unwrap();
    let signed = case.intermediate.signed_by(&case.key, &root).unwrap();
    let der = signed.der().to_vec();
    for bit in 0..der.len() * 8 {
        let mut flipped = der.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let judged = case.judge_chain(&[flipped.into()], root.der());
        assert!(judged.is_err(), "bit {bit}");
    }
}
