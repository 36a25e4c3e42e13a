//! What a bundle refuses to be.

use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};

use super::*;
use crate::pki::{Ca, World, now, trust_domain, uri};

fn bundle_of(roots: Vec<CertificateDer<'static>>) -> Result<TrustBundle, BundleError> {
    TrustBundle::new(trust_domain("example.org"), roots)
}

fn from_pem(pem: impl AsRef<[u8]>) -> Result<TrustBundle, BundleError> {
    TrustBundle::from_pem(trust_domain("example.org"), pem.as_ref())
}

/// Why the second root of a bundle is refused.
fn reason(root: CertificateDer<'static>) -> Refusal {
    match bundle_of(vec![World::shared().root.der.clone(), root]) {
        Err(BundleError::Root { index: 1, reason }) => *reason,
        other => panic!("not refused for its second root: {other:?}"),
    }
}

#[test]
fn an_empty_bundle_is_refused() {
    assert_eq!(bundle_of(vec![]).unwrap_err(), BundleError::Empty);
    assert_eq!(from_pem("").unwrap_err(), BundleError::Empty);
    assert_eq!(from_pem(" \r\n\n").unwrap_err(), BundleError::Empty);
}

#[test]
fn a_leaf_is_no_trust_anchor() {
    let world = World::shared();
    let leaf = world.chain(|_| {}).swap_remove(0);
    let index = 1;
    assert_eq!(reason(leaf), Refusal::IssuerIsNotCa { index });
    let no_ca = Ca::root("no ca", |root| root.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(reason(no_ca.der), Refusal::IssuerIsNotCa { index });
}

#[test]
fn a_root_needs_key_cert_sign() {
    let index = 1;
    let only_crls = Ca::root("crls", |root| {
        root.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    assert_eq!(reason(only_crls.der), Refusal::IssuerMayNotSign { index });
    let nothing = Ca::root("nothing", |root| root.key_usages.clear());
    assert_eq!(reason(nothing.der), Refusal::NoKeyUsage { index });
}

#[test]
fn a_root_of_another_trust_domain_is_refused() {
    let root = |id: &str| Ca::root("named", |root| root.subject_alt_names = vec![uri(id)]).der;
    assert!(bundle_of(vec![root("spiffe://example.org")]).is_ok());
    let code = reason(root("spiffe://other.org")).code();
    assert_eq!(code, "issuer_of_other_trust_domain");
}

#[test]
fn bytes_after_a_root_are_refused() {
    let longer = [World::shared().root.der.as_ref(), &[0]].concat();
    assert_eq!(reason(longer.into()), Refusal::Malformed { index: 1 });
}

#[test]
fn number_and_size_of_roots_are_bounded() {
    let root = |_| Ca::root("one of many", |_| {}).der;
    let mut roots: Vec<_> = (0..MAX_ROOTS).map(root).collect();
    let full = bundle_of(roots.clone()).unwrap();
    assert_eq!(from_pem(full.to_pem()).unwrap().roots(), full.roots());
    roots.push(root(0));
    assert_eq!(bundle_of(roots).unwrap_err(), BundleError::TooMany);
    let more = full.to_pem() + &full.to_pem();
    assert_eq!(from_pem(more).unwrap_err(), BundleError::TooMany);

    let padding = crate::pki::extension(&[1, 2, 3], false, &[0; MAX_ROOT_BYTES]);
    let large = Ca::root("large", |root| root.custom_extensions = vec![padding]);
    let error = bundle_of(vec![large.der]).unwrap_err();
    assert!(matches!(error, BundleError::RootTooLarge { index: 0, .. }));
}

#[test]
fn version_is_that_of_the_set() {
    let [a, b] = ["a", "b"].map(|name| Ca::root(name, |_| {}).der);
    let version = |roots: &[&CertificateDer<'static>]| {
        let roots = roots.iter().map(|root| (*root).clone()).collect();
        bundle_of(roots).unwrap().version().to_owned()
    };
    assert_eq!(version(&[&a, &b]), version(&[&b, &a]));
    assert_eq!(version(&[&a, &a]), version(&[&a]));
    assert_ne!(version(&[&a]), version(&[&b]));
    assert_ne!(version(&[&a, &b]), version(&[&a]));
    let digits = version(&[&a]);
    assert!(digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn pem_and_der_hold_the_same_roots() {
    let roots: Vec<_> = ["a", "b"].map(|name| Ca::root(name, |_| {}).der).into();
    let bundle = bundle_of(roots.clone()).unwrap();
    assert_eq!(bundle.to_der(), [roots[0].as_ref(), &roots[1]].concat());
    let pem = bundle.to_pem();
    assert!(pem.lines().all(|line| line.len() <= 64));
    assert_eq!(from_pem(&pem).unwrap().roots(), roots);
    let windows = format!("\r\n{}\r\n", pem.replace('\n', "\r\n"));
    assert_eq!(from_pem(windows).unwrap().version(), bundle.version());
}

#[test]
fn text_around_the_roots_is_passed_over() {
    let root = World::shared().root.der.clone();
    let bundle = bundle_of(vec![root]).unwrap();
    let good = bundle.to_pem();
    for text in [
        format!("# the root of 2026\n{good}"),
        format!("{good}\nthe end"),
        format!("\u{feff}\r\nsubject=root\r\n{good}"),
    ] {
        assert_eq!(from_pem(text).unwrap().version(), bundle.version());
    }
}

#[test]
fn bundle_never_becomes_shorter_without_a_word() {
    let good = bundle_of(vec![World::shared().root.der.clone()])
        .unwrap()
        .to_pem();
    let end = good.find("-----END").unwrap();
    for (pem, why) in [
        (format!("{good}{}", &good[..end]), "block without end"),
        (
            format!("{good}{}", good.replace("CERTIFICATE", "PRIVATE KEY")),
            "another label",
        ),
        (good.replacen("MII", "M!I", 1), "no base64"),
        (
            format!("{good}{}", good.replacen("-----BEGIN", "----BEGIN", 1)),
            "broken line",
        ),
    ] {
        assert!(matches!(from_pem(pem), Err(BundleError::Pem(_))), "{why}");
    }
    let page = from_pem("<html>404</html>").unwrap_err();
    assert_eq!(page, BundleError::Empty);
    let large = from_pem("\n".repeat(MAX_PEM_BYTES + 1)).unwrap_err();
    assert!(matches!(large, BundleError::Pem(PemError::TooLarge { .. })));
}

#[test]
fn a_later_bundle_replaces_and_never_merges() {
    let [old, new] = ["old", "new"].map(|name| Ca::root(name, |_| {}));
    let bundle = |ca: &Ca| Arc::new(bundle_of(vec![ca.der.clone()]).unwrap());
    let set: BundleSet = [bundle(&old), bundle(&new)].into_iter().collect();
    assert_eq!(set.iter().count(), 1);
    let held = set.get(&trust_domain("example.org")).unwrap();
    assert_eq!(held.roots(), [new.der]);
}

#[test]
fn facts_of_a_root_follow_its_anchor() {
    let limited = Ca::root("limited", |root| {
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(3));
    });
    let bundle = bundle_of(vec![World::shared().root.der.clone(), limited.der]).unwrap();
    let facts = |index: usize| bundle.root_of(&bundle.anchors()[index]).unwrap();
    assert_eq!((facts(0).path_len, facts(1).path_len), (None, Some(3)));
    assert!(facts(1).not_before < now() && facts(1).not_after > now());
    let foreign = bundle.anchors()[0].clone();
    assert!(bundle.root_of(&foreign).is_none());
}
