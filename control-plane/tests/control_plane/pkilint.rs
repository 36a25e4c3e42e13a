//! A second opinion on every kind of certificate: pkilint, which shares no code with us.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use countersign_envoy::{SECRET_TYPE, read_certificate_chain};
use countersign_proto::mesh::KeyProof;
use countersign_verify::proof;
use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize, SanType, SigningKey,
};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::*;
use crate::stream::Stream;

/// The longest lifetimes and the shortest, and a root that ends after 2050.
const WIDE: &str =
    "[svid]\nx509_ttl = \"24h\"\n[ca]\nissuing_ttl = \"150d\"\nroot_ttl = \"36500d\"\n";
const NARROW: &str = "[svid]\nx509_ttl = \"20s\"\nbackdate = \"0s\"\n\
                      [ca]\nissuing_ttl = \"120s\"\nroot_ttl = \"1h\"\nbackdate = \"0s\"\n";

/// pkilint reads tables of countries and languages when it starts.
const PATIENCE: Duration = Duration::from_secs(100);

/// Certificates (DER) by a name without blanks.
type Certificates = BTreeMap<String, Vec<u8>>;

#[tokio::test(flavor = "multi_thread")]
async fn pkilint_agrees_with_every_certificate() {
    let mut certificates = Certificates::new();
    for (name, settings) in [("wide", WIDE), ("narrow", NARROW)] {
        issue(name, settings, &mut certificates).await;
    }
    let verdict = pkilint(&certificates).await;
    assert_eq!(verdict["judged"], certificates.len());
    assert!(
        verdict["findings"].as_array().unwrap().is_empty(),
        "{verdict:#}"
    );
}

#[tokio::test]
async fn pkilint_reports_a_broken_certificate() {
    let broken = |change: fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    };
    let certificates = Certificates::from([
        (
            "ends_before_it_begins".to_owned(),
            broken(|p| (p.not_before, p.not_after) = (p.not_after, p.not_before)),
        ),
        (
            "is_no_spiffe_id".to_owned(),
            broken(|p| p.subject_alt_names = vec![uri("spiffe://example.org/a b")]),
        ),
        (
            "is_no_host".to_owned(),
            broken(|p| p.subject_alt_names = vec![dns("-web.example.org")]),
        ),
    ]);
    let verdict = pkilint(&certificates).await;
    let findings = verdict["findings"].as_array().unwrap();
    for name in certificates.keys() {
        let is_found = findings.iter().any(|found| found["certificate"] == **name);
        assert!(is_found, "{name}: {verdict:#}");
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

/// One certificate of every profile, kind of key and shape of names.
async fn issue(name: &str, settings: &str, certificates: &mut Certificates) {
    let plane = Plane::with(settings).await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    let mut keep = |what: &str, chain: &[Vec<u8>]| {
        for (place, der) in chain.iter().enumerate() {
            certificates.insert(format!("{name}/{what}/{place}"), der.clone());
        }
    };
    keep("node", &node.chain);
    keep("server", &session.server);
    let roots: Vec<_> = bytes(plane.bundle().await.roots());
    keep("root", &roots);
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
            let key = key();
            let proof = proof_of(&key, scheme, &session.exporter, entitlement);
            session.enrol_with(entitlement, proof).await.unwrap();
            keep(
                &format!("{kind}/{shape}"),
                &chain(&mut stream, entitlement).await,
            );
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

/// The chain of an entitlement as it is pushed.
async fn chain(stream: &mut Stream, entitlement: &str) -> Vec<Vec<u8>> {
    stream.subscribe(SECRET_TYPE, entitlement).await;
    let secret = stream.present(entitlement).await;
    bytes(&read_certificate_chain(&secret.body).unwrap())
}

fn bytes(certificates: &[impl AsRef<[u8]>]) -> Vec<Vec<u8>> {
    let certificates = certificates.iter();
    certificates.map(|der| der.as_ref().to_vec()).collect()
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

/// Asks one process about all of them: it is slow to start.
async fn pkilint(certificates: &Certificates) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control_plane/ask_pkilint.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = certificates
        .iter()
        .map(|(name, der)| format!("{name} {}\n", BASE64.encode(der)));
    let lines: String = lines.collect();
    let mut stdin = child.stdin.take().unwrap();
    let answer = async {
        stdin.write_all(lines.as_bytes()).await.unwrap();
        drop(stdin);
        child.wait_with_output().await.unwrap()
    };
    let output = tokio::time::timeout(PATIENCE, answer).await;
    let output = output.expect("pkilint answers in time");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The Python of the private environment.
fn python() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let python = project.join(".venv/bin/python");
    assert!(
        python.exists(),
        "run `tests/setup.sh .venv`, or `make test`"
    );
    python
}
