//! What `countersign status` tells of attestations that were refused.

use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::harness::*;

/// A token that we never made, which would clear a terminal.
const HOSTILE: &str = "\x1b[2J0123456789\u{202e}";

/// Code, node, method and how many times, of each that is told.
fn told(status: &Value) -> Vec<Value> {
    let items = status["refused_attestations"]["items"].as_array();
    let items = items.unwrap().iter();
    let items = items.map(|it| json!([it["code"], it["node"], it["method"], it["count"]]));
    items.collect()
}

async fn refuse(plane: &Plane, token: &str) {
    let key = KeyPair::generate().unwrap();
    let refused = plane.dial(None).await.attest(token, &key, "node").await;
    assert_eq!(refused.unwrap_err().message(), "attestation refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_attestations_are_told_by_status() {
    let plane = Plane::start().await;
    assert_eq!(told(&plane.ask("status").await), Vec::<Value>::new());
    let spent = plane.token(NODE_A).await;
    let key = KeyPair::generate().unwrap();
    let session = plane.dial(None).await;
    session.attest(&spent, &key, "node").await.unwrap();
    let late = plane.token(NODE_B).await;
    for token in [&"0".repeat(64), &spent] {
        refuse(&plane, token).await;
    }
    // An hour and more: what was before is not told in short any more.
    plane.advance(3_601);
    for token in [HOSTILE, &late] {
        refuse(&plane, token).await;
    }

    let status = plane.ask("status").await;
    let expected = [
        json!(["token_expired", NODE_B, "join_token", 1]),
        json!(["token_unknown", null, "join_token", 2]),
        json!(["token_used", NODE_A, "join_token", 1]),
    ];
    assert_eq!(told(&status), expected);
    let newest = &status["refused_attestations"]["items"][0];
    assert_eq!(newest["address"], "127.0.0.1");
    assert_eq!(newest["first"], newest["last"]);
    assert!(
        newest["remedy"]
            .as_str()
            .unwrap()
            .contains("countersign token create")
    );
    assert_eq!(status["refused_attestations"]["dropped"], 0);
    let everything = status.to_string();
    for secret in [&spent, &late, "0123456789\u{202e}", "[2J"] {
        assert!(!everything.contains(secret), "{everything}");
    }

    // A node that has a token alone, and what may be of it.
    let output = plane.cli(&format!("status --node {NODE_B}")).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("token_expired") && text.contains("token_unknown"),
        "{text}"
    );
    assert!(!text.contains("token_used"), "{text}");
    let status = plane.ask(&format!("status --node {NODE_B}")).await;
    assert_eq!(told(&status), expected[..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_recognised_is_told_by_status() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    plane
        .ask(&format!("node evict --node {NODE_A} --reason lost"))
        .await;
    for _ in 0..2 {
        let session = node.dial(&plane).await;
        assert!(session.discover(hello()).await.is_err());
    }
    let status = plane.ask("status").await;
    assert_eq!(
        told(&status),
        [json!(["not_a_node", NODE_A, "node_svid", 2])]
    );
    // Whoever shows nothing may be anybody: it is a stranger, and no node that is not attested.
    let stranger = plane.dial(None).await;
    assert!(stranger.discover(hello()).await.is_err());
    assert_eq!(told(&plane.ask("status").await).len(), 1);
}
