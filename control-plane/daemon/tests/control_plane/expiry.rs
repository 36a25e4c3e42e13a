//! A node's credential ends: calls, streams, and the renewal that keeps a session.

use std::sync::Arc;

use countersign_envoy::SECRET_TYPE;
use rcgen::KeyPair;
use tonic::Code;

use crate::harness::*;

const BUNDLE: &str = "spiffe://example.org";
/// The shortest lifetime there is.
const TTL: &str = "[svid]\nx509_ttl = \"20s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused_on_every_call() {
    let plane = Plane::with(TTL).await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    session.enrol("node", &node.key).await.unwrap();
    plane.advance(21);
    let key = KeyPair::generate().unwrap();
    let refused = session.enrol("node", &key).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = session.discover(hello()).await.err().expect("no stream");
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_credential() {
    let plane = Plane::with(TTL).await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    plane.advance(17);
    let mut stream = session.discover(hello()).await.unwrap();
    stream.entitled().await;
    // Nothing is sent: its own timer ends it.
    assert_eq!(stream.ended().await.code(), Code::Unauthenticated);
    until(async || plane.ask("status").await["nodes"][0]["connected"] == false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_a_renewal_on_its_session() {
    let plane = Plane::with(TTL).await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.entitled().await;
    plane.advance(15);
    let key = KeyPair::generate().unwrap();
    session.enrol("node", &key).await.unwrap();
    plane.advance(10);
    stream.subscribe(SECRET_TYPE, BUNDLE).await;
    stream.present(BUNDLE).await;
    let again = KeyPair::generate().unwrap();
    session.enrol("node", &again).await.unwrap();

    plane.advance(21);
    stream
        .subscribe(SECRET_TYPE, "spiffe://example.org/none")
        .await;
    assert_eq!(stream.ended().await.code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_helps_no_other_session() {
    let plane = Plane::with(TTL).await;
    let node = plane.node(NODE_A).await;
    let (session, other) = (node.dial(&plane).await, node.dial(&plane).await);
    plane.advance(15);
    let key = KeyPair::generate().unwrap();
    session.enrol("node", &key).await.unwrap();
    plane.advance(10);
    let refused = other.enrol("node", &key).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

/// A suspended machine: the wall clock goes on, no timer does.
const SUSPENDED_SECS: i64 = 7_200;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_soon_after_a_suspend() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.entitled().await;
    plane.advance(SUSPENDED_SECS);
    assert_eq!(stream.ended().await.code(), Code::Unauthenticated);
}

/// Our own clock was not suspended: to us what is presented then is of the future.
#[tokio::test(flavor = "multi_thread")]
async fn server_identity_is_renewed_soon_after_a_suspend() {
    let plane = Plane::start().await;
    let (address, bundle) = (
        plane.running().api_address(),
        Arc::new(plane.bundle().await),
    );
    dial(address, &bundle, None).await.unwrap();
    plane.advance(SUSPENDED_SECS);
    until(async || match dial(address, &bundle, None).await {
        Ok(_) => false,
        Err(error) => {
            assert!(error.to_string().contains("NotValidYet"), "{error}");
            true
        }
    })
    .await;
}
