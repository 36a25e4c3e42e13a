//! The control plane from outside: real TLS, the real command line, no private access.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where its harness cannot go on"
)]

mod admin_socket;
mod backups;
mod by_hand;
mod certs;
mod clocks;
mod consumers;
mod daemon;
mod database;
mod disks;
mod enrolments;
mod expiry;
mod failures;
mod floods;
mod harness;
mod kills;
mod kinds;
mod ledger;
mod lineages;
mod nodes;
mod policy;
mod process;
mod push;
mod refused;
mod registering;
mod replicas;
mod rotations;
mod session;
mod shapes;
mod snapshots;
mod status;
mod strangers;
mod stream;
mod waivers;

use countersign_envoy::{SECRET_TYPE, read_certificate_chain, read_trusted_ca};
use countersign_model::Serial;
use countersign_proto::ENTITLEMENT_TYPE;
use rcgen::KeyPair;
use tonic::Code;

use harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_attests_enrols_and_is_sent_its_chain() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.entitled().await;

    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    stream.present(entitlement).await;
    stream.subscribe(SECRET_TYPE, entitlement).await;
    let key = KeyPair::generate().unwrap();
    let enrolled = session.enrol(entitlement, &key).await.unwrap();
    let again = session.enrol(entitlement, &key).await.unwrap();
    assert_eq!(enrolled.serial, again.serial, "idempotent by key");

    let secret = stream.present(entitlement).await;
    let serial = Serial::from_bytes(&enrolled.serial).unwrap();
    assert_eq!(*secret.version, serial.to_string());
    assert_eq!(read_certificate_chain(&secret.body).unwrap().len(), 2);

    stream.subscribe(SECRET_TYPE, "spiffe://example.org").await;
    let bundle = stream.present("spiffe://example.org").await;
    assert_eq!(*bundle.version, *plane.bundle().await.version());
    assert_eq!(read_trusted_ca(&bundle.body).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_svid_authenticates_nothing_at_the_control_plane() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    let key = KeyPair::generate().unwrap();
    session.enrol(entitlement, &key).await.unwrap();
    stream.subscribe(SECRET_TYPE, entitlement).await;
    let secret = stream.present(entitlement).await;
    let chain = read_certificate_chain(&secret.body).unwrap();
    let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();

    let workload = plane.dial(Some((&chain, &key))).await;
    let refused = workload.discover(hello()).await.err().expect("no stream");
    assert_eq!(refused.code(), Code::Unauthenticated);
    for entitlement in ["node", entitlement] {
        let refused = workload.enrol(entitlement, &key).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    let anonymous = plane.dial(None).await;
    let refused = anonymous.discover(hello()).await.err().expect("no stream");
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_node_gets_nothing_of_another() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_B).await;
    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let session = node.dial(&plane).await;
    let refused = session
        .enrol(entitlement, &KeyPair::generate().unwrap())
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);

    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, entitlement).await;
    stream.subscribe(ENTITLEMENT_TYPE, entitlement).await;
    stream.subscribe(SECRET_TYPE, "spiffe://example.org").await;
    let bundle = stream.changes().await;
    assert_eq!(
        bundle.len(),
        1,
        "the stolen names alone are absent: {bundle:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_and_refusals_say_nothing() {
    let plane = Plane::start().await;
    let token = plane.token(NODE_A).await;
    let key = KeyPair::generate().unwrap();
    let session = plane.dial(None).await;
    let wrong_proof = session.attest(&token, &key, "reg-0").await.unwrap_err();
    session.attest(&token, &key, "node").await.unwrap();
    let other = KeyPair::generate().unwrap();
    let replayed = session.attest(&token, &other, "node").await.unwrap_err();
    let unknown = session
        .attest(&"0".repeat(64), &key, "node")
        .await
        .unwrap_err();
    let late = plane.token(NODE_B).await;
    plane.advance(3_600);
    let expired = session.attest(&late, &other, "node").await.unwrap_err();
    let refusals = [&wrong_proof, &unknown, &replayed, &expired];
    for refused in refusals {
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(refused.message(), "attestation refused");
    }
    // Who shows a token was given it: one sentence beside, and not which node it is for.
    let told = refusals.map(|it| it.metadata().get("countersign-remedy"));
    let told = told.map(|it| it.map(|it| it.to_str().unwrap()));
    let [None, None, Some(used), Some(expired)] = told else {
        panic!("{told:?}");
    };
    assert!(used.starts_with("this join token was used, at "), "{used}");
    assert!(
        expired.starts_with("this join token has expired, at "),
        "{expired}"
    );
    for told in [used, expired] {
        assert!(told.contains("countersign token create") && !told.contains("spiffe://"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connected_node_is_not_attested_again() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let token = plane.token(NODE_A).await;
    let session = node.dial(&plane).await;
    let stream = session.discover(hello()).await.unwrap();
    let thief = plane.dial(None).await;
    let key = KeyPair::generate().unwrap();
    let refused = thief.attest(&token, &key, "node").await.unwrap_err();
    assert_eq!(refused.message(), "attestation refused");
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_another_session_is_refused() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let (one, other) = (node.dial(&plane).await, node.dial(&plane).await);
    assert_ne!(one.exporter, other.exporter);
    let key = KeyPair::generate().unwrap();
    let relayed = key_proof(&key, &one.exporter, "node");
    let refused = other.enrol_with("node", relayed).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    one.enrol("node", &key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_right_stops_within_the_bound_while_connected() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(ENTITLEMENT_TYPE, "*").await;
    stream.present(entitlement).await;
    let key = KeyPair::generate().unwrap();
    session.enrol(entitlement, &key).await.unwrap();

    let removed = plane.ask(&format!("unregister --id {WEB}")).await;
    assert!(removed["valid_until"].is_string(), "{removed}");
    stream.removed(ENTITLEMENT_TYPE, entitlement).await;
    let refused = session.enrol(entitlement, &key).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_of_a_node_takes_over() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    let mut older = session.discover(hello()).await.unwrap();
    let mut newer = session.discover(hello()).await.unwrap();
    assert_eq!(older.ended().await.code(), Code::Aborted);
    newer.entitled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incompatible_version_is_told_both() {
    let plane = Plane::start().await;
    let session = plane.node(NODE_A).await.dial(&plane).await;
    let mut future = hello();
    future.protocol_version = 9;
    let mut stream = session.discover(future).await.unwrap();
    let status = stream.ended().await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains('9') && status.message().contains('1'));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_the_same_root_and_resends_nothing() {
    let mut plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let before = plane.bundle().await;
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, "spiffe://example.org").await;
    let held = stream.present("spiffe://example.org").await;

    plane.restart().await;
    assert_eq!(stream.ended().await.code(), Code::Unavailable);
    assert_eq!(plane.bundle().await.version(), before.version());
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream
        .client
        .hold(SECRET_TYPE, "spiffe://example.org", &held.version);
    stream.subscribe(SECRET_TYPE, "spiffe://example.org").await;
    stream.subscribe(ENTITLEMENT_TYPE, "*").await;
    let first = stream.received().await;
    assert_eq!(first.type_url, ENTITLEMENT_TYPE, "the bundle is not resent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_judged_offline() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let folder = tempfile::tempdir().unwrap();
    let (bundle, chain) = (folder.path().join("bundle"), folder.path().join("chain"));
    std::fs::write(&bundle, plane.bundle().await.to_pem()).unwrap();
    std::fs::write(&chain, pem(&node.chain)).unwrap();
    let files = format!("--bundle {} --chain {}", bundle.display(), chain.display());
    let verdict = plane.ask(&format!("verify {files}")).await;
    assert_eq!(
        (&verdict["accepted"], &verdict["id"]),
        (&true.into(), &NODE_A.into())
    );
    for (more, exit) in [
        ("--at 2099-01-01T00:00:00Z", 1),
        ("--trust-domain other.org", 1),
        ("--crl /nonexistent", 2),
    ] {
        let output = plane.cli(&format!("verify {files} {more}")).await;
        assert_eq!(output.status.code(), Some(exit), "{more}: {output:?}");
    }
}

fn pem(chain: &[Vec<u8>]) -> String {
    use base64::Engine;
    let encode = |der: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(der);
    let block = |der: &Vec<u8>| {
        let text = encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    };
    chain.iter().map(block).collect()
}
