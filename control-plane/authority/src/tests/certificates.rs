use countersign_verify::{BundleSet, VerifiedSvid, verify_svid};
use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256, RsaKeySize};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::*;

/// Judges a chain as a peer would.
pub(super) fn verify(plane: &Plane, chain: &[CertificateDer<'_>], now: Timestamp) -> VerifiedSvid {
    let bundles: BundleSet = [plane.authority.bundle().0].into_iter().collect();
    verify_svid(chain, &bundles, &[], now).unwrap()
}

#[tokio::test]
async fn enrolled_key_becomes_an_svid_that_peers_accept() {
    let plane = Plane::new().await;
    let mut wanted = registration("/web", "/node/a");
    wanted.dns = vec!["web.local".to_owned(), "web".to_owned()];
    wanted.x509_ttl = Some(Duration::from_secs(20));
    let web = plane.register(wanted).await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &web).await;

    let seen = verify(&plane, &svid.chain(), after(1));
    assert_eq!(seen.id, id("/web"));
    assert_eq!(seen.serial, svid.serial.as_bytes());
    assert_eq!(seen.not_after, svid.lifetime.not_after);
    assert_eq!(seen.not_before.as_second(), start().as_second() - 60);
    assert_eq!(svid.lifetime.issued_at, start());
    assert_eq!(
        svid.lifetime.not_after.as_second(),
        start().as_second() + 20
    );
    let chain = svid.chain();
    let (_, leaf) = parse_x509_certificate(&chain[0]).unwrap();
    let san = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(san.critical);
    assert_eq!(
        san.value.general_names,
        [
            GeneralName::URI("spiffe://example.org/web"),
            GeneralName::DNSName("web.local"),
            GeneralName::DNSName("web"),
        ]
    );
}

/// A sidecar whose chain comes before the answer counts from here.
#[tokio::test]
async fn entitlement_tells_how_far_not_before_lies_back() {
    for backdate in [0, 60, 600].map(Duration::from_secs) {
        let set = |settings: &mut Settings| settings.times.svid_backdate = backdate;
        let plane = Plane::with(set).await;
        let web = plane.register(registration("/web", "/node/a")).await;
        let node = plane.attest("/node/a").await;
        for entitlement in [web, EntitlementId::node()] {
            let svid = plane.enrol(&node, &entitlement).await;
            let told = plane.authority.entitlement(node.id(), &entitlement);
            let seen = verify(&plane, &svid.chain(), after(1));
            let issued_at = seen.not_before + told.unwrap().backdate;
            let issued = svid.lifetime.issued_at.as_second();
            assert_eq!(issued_at.as_second(), issued, "{backdate:?}");
        }
    }
}

#[tokio::test]
async fn accepted_kinds_of_keys_are_certified() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    for (pair, scheme) in [(p384, 0x0503), (rsa, 0x0401)] {
        let key = proven_as(&pair, scheme, &web);
        let svid = plane.authority.enrol(&node, &web, &key, start()).await;
        verify(&plane, &svid.unwrap().chain(), after(1));
    }
}

#[tokio::test]
async fn weak_proof_proves_nothing() {
    let web = EntitlementId::node();
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
    let spki = pair.subject_public_key_info();
    let message = proof::message(&EXPORTER, web.as_str(), &spki);
    let signature = pair.sign(&message).unwrap();
    let denied = ProvenKey::check(&spki, 0x0603, &signature, &EXPORTER, &web).unwrap_err();
    assert_eq!(denied.code, "key_proof_invalid");
    let pair = fresh_key();
    let spki = pair.subject_public_key_info();
    let signature = pair
        .sign(&proof::message(&[8; 32], web.as_str(), &spki))
        .unwrap();
    let denied = ProvenKey::check(&spki, ECDSA_P256, &signature, &EXPORTER, &web).unwrap_err();
    assert_eq!(denied.code, "key_proof_invalid");
}

#[tokio::test]
async fn one_key_gets_one_certificate() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let key = proven(&fresh_key(), &web);
    let enrol = || plane.authority.enrol(&node, &web, &key, start());
    let first = enrol().await.unwrap();
    let newer = plane.enrol(&node, &web).await;
    let second = enrol().await.unwrap();
    assert_eq!(
        (first.serial, &first.chain()),
        (second.serial, &second.chain())
    );
    let published = plane.authority.published(&id("/node/a"), &web).unwrap();
    assert_eq!(published.serial, newer.serial, "the newest stays published");
    let issued = plane.authority.issued_total();

    let plane = plane.restart(after(60)).await;
    let third = plane
        .authority
        .enrol(&node, &web, &key, after(60))
        .await
        .unwrap();
    assert_eq!(
        (third.serial, &third.chain()),
        (first.serial, &first.chain())
    );
    assert_eq!(plane.authority.issued_total(), issued);
}

#[tokio::test]
async fn one_key_is_never_two_identities() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let db = plane.register(registration("/db", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let pair = fresh_key();
    let enrol = async |plane: &Plane, entitlement: &EntitlementId| {
        let key = proven(&pair, entitlement);
        plane
            .authority
            .enrol(&node, entitlement, &key, after(1))
            .await
    };
    enrol(&plane, &web).await.unwrap();
    assert_eq!(code(enrol(&plane, &db).await), "key_in_use");
    assert_eq!(
        code(enrol(&plane, &EntitlementId::node()).await),
        "key_in_use"
    );
    let plane = plane.restart(after(1)).await;
    assert_eq!(code(enrol(&plane, &db).await), "key_in_use");
}

#[tokio::test]
async fn no_identity_is_granted_beyond_its_registration() {
    let plane = Plane::new().await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let other = plane.attest("/node/b").await;
    let key = proven(&fresh_key(), &web);
    let stolen = plane.authority.enrol(&other, &web, &key, start()).await;
    assert_eq!(code(stolen), "not_entitled");
    let node = plane.attest("/node/a").await;
    let for_node = plane
        .authority
        .enrol(&node, &EntitlementId::node(), &key, start())
        .await;
    assert_eq!(
        code(for_node),
        "key_proof_invalid",
        "the proof names its entitlement"
    );
}

#[tokio::test]
async fn leaf_never_outlives_its_issuer() {
    let plane = Plane::with(|settings| {
        settings.root_ttl = Duration::from_secs(86_400);
        settings.issuing_ttl = Duration::from_secs(86_400);
    })
    .await;
    let node = plane.attest("/node/a").await;
    let own = EntitlementId::node();
    let enrol = async |secs| {
        let key = proven(&fresh_key(), &own);
        plane.authority.enrol(&node, &own, &key, after(secs)).await
    };
    let svid = enrol(86_400 - 600).await.unwrap();
    let issuing = plane.authority.authorities().1[0].not_after;
    assert_eq!(svid.lifetime.not_after, issuing);
    let expired = enrol(86_400).await;
    assert!(
        matches!(expired, Err(AuthorityError::Unavailable(_))),
        "{expired:?}"
    );
}
