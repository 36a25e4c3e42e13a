//! Every kind of certificate there is: what pkilint, the second opinion, judges at the end of
//! `make test` (`tests/judge.py`) is never less than this.

use countersign_envoy::{SECRET_TYPE, read_certificate_chain};
use countersign_proto::mesh::KeyProof;
use countersign_verify::proof;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData,
    RsaKeySize, SigningKey,
};

use crate::harness::*;
use crate::stream::Stream;

/// The longest lifetimes and the shortest, and a root that ends after 2050.
const WIDE: &str =
    "[svid]\nx509_ttl = \"24h\"\n[ca]\nissuing_ttl = \"150d\"\nroot_ttl = \"36500d\"\n";
const NARROW: &str = "[svid]\nx509_ttl = \"20s\"\nbackdate = \"0s\"\n\
                      [ca]\nissuing_ttl = \"120s\"\nroot_ttl = \"1h\"\nbackdate = \"0s\"\n";

/// With an intermediate.
const TIERS: &str = "[ca]\nintermediate = true\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_certificate_is_issued() {
    for (settings, presented) in [(WIDE, 2), (NARROW, 2), (TIERS, 3)] {
        issue(settings, presented).await;
    }
}

/// One certificate of every profile, kind of key and shape of names; so many are presented.
async fn issue(settings: &str, presented: usize) {
    let plane = Plane::with(settings).await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    for (kind, key, scheme) in keys() {
        for (shape, arguments) in [
            ("plain", String::new()),
            ("dns", " --dns web.example.org --dns web".to_owned()),
            ("long", format!(" --dns {}", longest_host())),
        ] {
            let id = format!("spiffe://example.org/{kind}/{shape}");
            let line = format!(
                "register --id {id} --node {NODE_A} --selector unix:uid:1000 --owner me{arguments}"
            );
            let registered = plane.ask(&line).await;
            let entitlement = registered["entitlement"].as_str().unwrap();
            let proof = proof_of(&key(), scheme, &session.exporter, entitlement);
            session.enrol_with(entitlement, proof).await.unwrap();
            assert_eq!(chain(&mut stream, entitlement).await, presented, "{id}");
        }
    }
}

/// The name of a kind of key, its maker, and the scheme of its proof.
type Kind = (&'static str, fn() -> KeyPair, u16);

/// Every accepted kind, and two sizes of RSA. Schemes are those of RFC 8446 section 4.2.3.
fn keys() -> [Kind; 4] {
    [
        (
            "p256",
            || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            0x0403,
        ),
        (
            "p384",
            || KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
            0x0503,
        ),
        ("rsa2048", || rsa(RsaKeySize::_2048), 0x0401),
        ("rsa3072", || rsa(RsaKeySize::_3072), 0x0401),
    ]
}

fn rsa(size: RsaKeySize) -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size).unwrap()
}

fn proof_of(key: &KeyPair, scheme: u16, exporter: &[u8; 32], entitlement: &str) -> KeyProof {
    let spki = key.subject_public_key_info();
    let message = proof::message(exporter, entitlement, &spki);
    KeyProof {
        signature: key.sign(&message).unwrap(),
        signature_scheme: scheme.into(),
        spki,
    }
}

/// Length of the chain of an entitlement as it is pushed.
async fn chain(stream: &mut Stream, entitlement: &str) -> usize {
    stream.subscribe(SECRET_TYPE, entitlement).await;
    let secret = stream.present(entitlement).await;
    read_certificate_chain(&secret.body).unwrap().len()
}

/// A host name of 253 bytes, the longest.
fn longest_host() -> String {
    let labels = [
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(61),
    ];
    labels.join(".")
}
