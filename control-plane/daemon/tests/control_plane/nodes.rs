//! Nodes over the wire: which attestation is theirs, and who is put out.

use rcgen::KeyPair;
use serde_json::Value;
use tonic::{Code, Status};

use crate::harness::{NODE_A, NODE_B, Node, Plane, Session, WEB, hello};

async fn attest(session: &Session, token: &str) -> Result<Node, Status> {
    let key = KeyPair::generate().unwrap();
    let answer = session.attest(token, &key, "node").await?;
    Ok(Node {
        chain: answer.chain,
        key,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attestations_at_once_leave_one_recognised() {
    let plane = Plane::start().await;
    for _ in 0..6 {
        let tokens = (plane.token(NODE_A).await, plane.token(NODE_A).await);
        let sessions = (plane.dial(None).await, plane.dial(None).await);
        let attested = tokio::join!(
            attest(&sessions.0, &tokens.0),
            attest(&sessions.1, &tokens.1)
        );
        let mut recognised = 0;
        for node in [attested.0, attested.1].into_iter().flatten() {
            match node.dial(&plane).await.discover(hello()).await {
                Ok(_) => recognised += 1,
                Err(status) => assert_eq!(status.code(), Code::Unauthenticated),
            }
        }
        assert_eq!(recognised, 1);
    }
}

#[tokio::test]
async fn lost_attestation_is_repeated_on_another_connection() {
    let plane = Plane::start().await;
    let (token, key) = (plane.token(NODE_A).await, KeyPair::generate().unwrap());
    let lost = plane.dial(None).await;
    let first = lost.attest(&token, &key, "node").await.unwrap();
    drop(lost);
    let again = plane.dial(None).await.attest(&token, &key, "node").await;
    assert_eq!(again.unwrap().chain, first.chain);
    let thief = attest(&plane.dial(None).await, &token).await.err().unwrap();
    assert_eq!(thief.message(), "attestation refused", "and no more");
}

/// Another token would not help, so none is asked for.
#[tokio::test]
async fn holder_of_a_used_token_is_not_sent_for_another_by_a_ban() {
    let plane = Plane::start().await;
    let (token, key) = (plane.token(NODE_A).await, KeyPair::generate().unwrap());
    let attest = async |key| plane.dial(None).await.attest(&token, key, "node").await;
    attest(&key).await.unwrap();
    let ban = format!("node ban --node {NODE_A} --reason lost");
    plane.ask(&ban).await;
    let banned = attest(&key).await.unwrap_err();
    let told = |refused: &Status| refused.metadata().get("countersign-remedy").is_some();
    assert_eq!(banned.message(), "attestation refused");
    assert!(!told(&banned), "{banned:?}");
    let thief = attest(&KeyPair::generate().unwrap()).await.unwrap_err();
    assert!(told(&thief), "the token itself was the reason: {thief:?}");
}

/// The one row of a node.
async fn listed(plane: &Plane, node: &str) -> Value {
    let listed = plane.ask(&format!("node list --node {node}")).await;
    listed["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn evicted_node_is_cut_at_once() {
    let plane = Plane::start().await;
    let web = plane.register(WEB, NODE_A).await;
    let web = web["entitlement"].as_str().unwrap();
    let (node, other) = (plane.node(NODE_A).await, plane.node(NODE_B).await);
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.entitled().await;
    let other_session = other.dial(&plane).await;
    let _untouched = other_session.discover(hello()).await.unwrap();
    let row = listed(&plane, NODE_A).await;
    assert!(row["connected_since"].is_string(), "{row}");
    assert_eq!(row["serials"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&row["registrations"], &row["evicted"]),
        (&1.into(), &Value::Null)
    );

    let evict = format!("node evict --node {NODE_A} --reason stolen");
    let evicted = plane.ask(&evict).await;
    assert_eq!(evicted["was_connected"], true);
    assert!(evicted["valid_until"].is_string(), "{evicted}");
    assert_eq!(stream.ended().await.code(), Code::Unauthenticated);
    let key = KeyPair::generate().unwrap();
    for entitlement in ["node", web] {
        let refused = session.enrol(entitlement, &key).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    let again = node
        .dial(&plane)
        .await
        .discover(hello())
        .await
        .err()
        .unwrap();
    assert_eq!(again.code(), Code::Unauthenticated);
    let row = listed(&plane, NODE_A).await;
    assert_eq!(row["evicted"]["reason"], "stolen");
    assert!(row["last_seen"].is_string() && row["connected_since"].is_null());
    assert!(listed(&plane, NODE_B).await["connected_since"].is_string());

    let back = plane.node(NODE_A).await;
    let stream = back.dial(&plane).await.discover(hello()).await;
    stream.expect("a new attestation is recognised");
    let refused = session.enrol("node", &key).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "the old one is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn stuck_stream_is_cut_as_well() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    // Its hello is never sent, so the stream waits for it.
    let (_requests, outbound) = tokio::sync::mpsc::channel(1);
    let outbound = tokio_stream::wrappers::ReceiverStream::new(outbound);
    let mut client = countersign_proto::mesh::mesh_client::MeshClient::new(session.channel.clone());
    let mut stream = client.discover(outbound).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("a hello");
    plane
        .ask(&format!("node evict --node {NODE_A} --reason stolen"))
        .await;
    let ended = stream.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn banned_node_stays_out_until_unbanned() {
    let mut plane = Plane::start().await;
    let early = plane.token(NODE_A).await;
    let text = plane
        .cli(&format!("node ban --node {NODE_A} --reason lost"))
        .await;
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("1 unused join token"), "{text}");
    assert!(
        text.contains(&format!("node unban --node {NODE_A}")),
        "{text}"
    );
    plane.restart().await;
    let refused = attest(&plane.dial(None).await, &early).await.err().unwrap();
    assert_eq!(refused.message(), "attestation refused");
    let refused = plane
        .cli(&format!("token create --node {NODE_A} --json"))
        .await;
    let why: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(3), "{why}");
    assert!(why.to_string().contains("node_banned"), "{why}");
    assert_eq!(listed(&plane, NODE_A).await["banned"]["reason"], "lost");
    plane
        .ask(&format!("node unban --node {NODE_A} --reason found"))
        .await;
    plane.node(NODE_A).await;
    let odd = plane.cli(&format!("node evict --node {NODE_A}")).await;
    assert_eq!(odd.status.code(), Some(2), "a reason is needed");
}
