//! Nodes over the wire: which attestation is theirs, and who is put out.

use rcgen::KeyPair;
use tonic::{Code, Status};

use crate::harness::{NODE_A, Node, Plane, Session, hello};

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
