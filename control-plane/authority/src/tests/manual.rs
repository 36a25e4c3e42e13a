use countersign_issue::request::Requested;
use futures_util::FutureExt as _;
use rcgen::{CertificateParams, PublicKeyData as _, SanType};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::ManualCertificate;
use super::*;

pub(super) fn manual(workload: &str) -> Registration {
    let mut wanted = registration(workload, "/node/a");
    wanted.key = RegistrationKey::manual(id(workload));
    wanted
}

/// A request that asks for more than it may have.
fn request(pair: &KeyPair) -> Requested {
    let mut params = CertificateParams::new(["evil.example.org".to_owned()]).unwrap();
    let stolen = SanType::URI("spiffe://example.org/admin".try_into().unwrap());
    params.subject_alt_names.push(stolen);
    Requested::read(params.serialize_request(pair).unwrap().der()).unwrap()
}

pub(super) async fn sign(
    plane: &Plane,
    workload: &str,
    pair: &KeyPair,
    secs: i64,
) -> Result<ManualCertificate, AuthorityError> {
    let requested = request(pair);
    plane
        .authority
        .sign_manually(&id(workload), requested, after(secs))
        .await
}

#[tokio::test]
async fn names_come_from_the_registration_alone() {
    let plane = Plane::new().await;
    let mut wanted = manual("/plc");
    wanted.dns = vec!["plc.example.org".to_owned()];
    plane.register(wanted).await;
    let pair = fresh_key();
    let signed = sign(&plane, "/plc", &pair, 0).await.unwrap();
    certificates::verify(&plane, &signed.chain, after(1));
    let (_, leaf) = X509Certificate::from_der(&signed.chain[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(
        names.value.general_names,
        [
            GeneralName::URI("spiffe://example.org/plc"),
            GeneralName::DNSName("plc.example.org"),
        ]
    );
    assert_eq!(leaf.public_key().raw, pair.subject_public_key_info());
    assert_eq!(leaf.subject().iter().count(), 0);
}

#[tokio::test]
async fn only_what_is_registered_by_hand_is_signed() {
    let plane = Plane::new().await;
    plane.register(registration("/web", "/node/a")).await;
    for workload in ["/web", "/none", "/node/a", "/countersign/control-plane"] {
        let refused = sign(&plane, workload, &fresh_key(), 0).await;
        assert_eq!(code(refused), "not_by_hand", "{workload}");
    }
}

#[tokio::test]
async fn by_hand_goes_to_no_node() {
    let plane = Plane::new().await;
    let plc = plane.register(manual("/plc")).await;
    let node = plane.attest("/node/a").await;
    assert_eq!(plane.authority.entitlements(&id("/node/a")).len(), 1);
    let key = proven(&fresh_key(), &plc);
    let stolen = plane.authority.enrol(&node, &plc, &key, start()).await;
    assert_eq!(code(stolen), "not_entitled");
    let stream = plane.authority.hub().join(&id("/node/a"));
    sign(&plane, "/plc", &fresh_key(), 0).await.unwrap();
    plane.register(manual("/other")).await;
    let news = stream.news().now_or_never();
    assert!(news.is_none(), "no stream has to look");
}

/// What was signed: the signature itself may be made again.
fn said(signed: &ManualCertificate) -> Vec<u8> {
    let (_, leaf) = X509Certificate::from_der(&signed.chain[0]).unwrap();
    leaf.tbs_certificate.as_ref().to_vec()
}

#[tokio::test]
async fn same_key_gets_the_same_certificate() {
    let plane = Plane::new().await;
    plane.register(manual("/plc")).await;
    let pair = fresh_key();
    let first = sign(&plane, "/plc", &pair, 0).await.unwrap();
    let second = sign(&plane, "/plc", &pair, 60).await.unwrap();
    assert_eq!(said(&first), said(&second));
    let plane = plane.restart(after(120)).await;
    let third = sign(&plane, "/plc", &pair, 120).await.unwrap();
    assert_eq!(said(&first), said(&third));
    let renewed = sign(&plane, "/plc", &fresh_key(), 120).await.unwrap();
    assert_ne!(renewed.serial, first.serial);
    let ended = sign(&plane, "/plc", &pair, 3_601).await.unwrap();
    assert_ne!(ended.serial, first.serial, "its certificate has ended");
}

/// A device may keep its key.
#[tokio::test]
async fn same_key_is_renewed_once_that_is_due() {
    let plane = Plane::new().await;
    let plc = plane.register(manual("/plc")).await;
    plane.register(manual("/other")).await;
    let pair = fresh_key();
    let first = sign(&plane, "/plc", &pair, 0).await.unwrap();
    // An hour times 0.45 times 0.8 is 1296 seconds.
    let young = sign(&plane, "/plc", &pair, 1_295).await.unwrap();
    assert_eq!(said(&first), said(&young));
    let second = sign(&plane, "/plc", &pair, 1_297).await.unwrap();
    assert_ne!(second.serial, first.serial);
    assert_eq!(
        second.lifetime.not_after,
        first.lifetime.not_after + Duration::from_secs(1_297)
    );
    certificates::verify(&plane, &second.chain, after(1_298));
    let again = sign(&plane, "/plc", &pair, 1_298).await.unwrap();
    assert_eq!(said(&second), said(&again));
    let shown = plane
        .authority
        .certificate(&second.serial.into(), 10)
        .await
        .unwrap();
    let history: Vec<_> = shown.history.iter().map(|it| it.serial).collect();
    assert_eq!(history, [first.serial], "both are in the log");

    let plane = plane.restart(after(1_300)).await;
    let third = sign(&plane, "/plc", &pair, 1_301).await.unwrap();
    assert_eq!(said(&second), said(&third));
    assert_eq!(
        code(sign(&plane, "/other", &pair, 3_700).await),
        "key_in_use"
    );
    let [counted, found] = plane.authority.state.read().keys.shares();
    assert_eq!(counted, found);
    assert_eq!(
        counted.into_values().collect::<Vec<_>>(),
        [1],
        "one key of {plc}"
    );
}

/// A certificate that would end no later is no renewal.
#[tokio::test]
async fn same_key_is_not_renewed_for_less() {
    let plane = Plane::new().await;
    let mut wanted = manual("/plc");
    wanted.expires_at = Some(after(1_800));
    plane.register(wanted).await;
    let pair = fresh_key();
    let first = sign(&plane, "/plc", &pair, 0).await.unwrap();
    let second = sign(&plane, "/plc", &pair, 1_700).await.unwrap();
    assert_eq!(said(&first), said(&second));
}

#[tokio::test]
async fn one_key_is_never_two_identities_by_hand() {
    let plane = Plane::new().await;
    plane.register(manual("/plc")).await;
    plane.register(manual("/other")).await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let (pair, of_node) = (fresh_key(), fresh_key());
    sign(&plane, "/plc", &pair, 0).await.unwrap();
    let enrolled = proven(&of_node, &web);
    plane
        .authority
        .enrol(&node, &web, &enrolled, start())
        .await
        .unwrap();
    let both_ways = async |plane: &Plane| {
        assert_eq!(code(sign(plane, "/other", &pair, 1).await), "key_in_use");
        assert_eq!(code(sign(plane, "/plc", &of_node, 1).await), "key_in_use");
        let taken = proven(&pair, &web);
        let taken = plane.authority.enrol(&node, &web, &taken, after(1)).await;
        assert_eq!(code(taken), "key_in_use");
    };
    both_ways(&plane).await;
    both_ways(&plane.restart(after(1)).await).await;
}

#[tokio::test]
async fn removal_says_until_when_and_stops_signing() {
    let plane = Plane::new().await;
    plane.register(manual("/plc")).await;
    let pair = fresh_key();
    let signed = sign(&plane, "/plc", &pair, 0).await.unwrap();
    let plane = plane.restart(after(1)).await;
    let removed = plane
        .authority
        .unregister(&id("/plc"), None, after(2))
        .await;
    assert_eq!(
        removed.unwrap().valid_until,
        Some(signed.lifetime.not_after)
    );
    assert_eq!(code(sign(&plane, "/plc", &pair, 3).await), "not_by_hand");
    plane.register(manual("/plc")).await;
    assert_eq!(code(sign(&plane, "/plc", &pair, 4).await), "key_superseded");
    sign(&plane, "/plc", &fresh_key(), 4).await.unwrap();
}

#[tokio::test]
async fn one_id_may_be_on_nodes_and_by_hand() {
    let plane = Plane::new().await;
    let on_node = plane.register(registration("/web", "/node/a")).await;
    plane.register(manual("/web")).await;
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &on_node).await;
    sign(&plane, "/web", &fresh_key(), 0).await.unwrap();
    let place = id("/node/a");
    let removed = plane
        .authority
        .unregister(&id("/web"), Some(&place), after(1))
        .await;
    assert_eq!(
        removed.unwrap().registrations.len(),
        1,
        "the other one stays"
    );
    sign(&plane, "/web", &fresh_key(), 2).await.unwrap();
    let removed = plane
        .authority
        .unregister(&id("/web"), None, after(3))
        .await;
    assert_eq!(removed.unwrap().registrations.len(), 1);
    assert_eq!(plane.authority.registration_count(), 0);
}

#[tokio::test]
async fn by_hand_keeps_the_rules_of_ids() {
    let plane = Plane::new().await;
    plane.attest("/node/a").await;
    plane.register(manual("/plc")).await;
    assert_eq!(plane.refused(manual("/node/a")).await, "id_is_node");
    assert_eq!(plane.refused(manual("/countersign/x")).await, "id_reserved");
    let held = registration("/new", "/plc");
    assert_eq!(plane.refused(held).await, "node_is_workload");
    let token = plane
        .authority
        .create_token(&id("/plc"), MINUTE, start())
        .await;
    assert_eq!(code(token), "node_is_workload");
    let mut default = manual("/new");
    default.is_default = true;
    assert_eq!(plane.refused(default).await, "by_hand_without_caller");
}

#[tokio::test]
async fn ended_by_hand_registration_signs_nothing() {
    let plane = Plane::new().await;
    let mut wanted = manual("/plc");
    wanted.expires_at = Some(after(600));
    plane.register(wanted).await;
    let signed = sign(&plane, "/plc", &fresh_key(), 0).await.unwrap();
    assert!(signed.lifetime.not_after <= after(600));
    assert_eq!(
        code(sign(&plane, "/plc", &fresh_key(), 590).await),
        "registration_expired"
    );
    plane.authority.tick(after(600)).await.unwrap();
    assert_eq!(
        code(sign(&plane, "/plc", &fresh_key(), 601).await),
        "not_by_hand"
    );
}
