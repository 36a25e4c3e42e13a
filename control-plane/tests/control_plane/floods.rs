//! Floods of calls: who sends one is sent away, and nobody else notices.

use std::time::Duration;

use countersign_proto::RETRY_PUSHBACK;
use rcgen::KeyPair;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::harness::*;
use crate::shapes::scrape;

/// Few places, so that a flood of this size fills them.
const TIGHT: &str = "[admission]\nmax_in_flight = 1\nmax_queued = 32\n";
/// Calls of a flood: as many as one connection may make at once.
const FLOOD: usize = 250;

/// How long a refusal asks to stay away.
fn pushback(status: &Status) -> Duration {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let asked = status.metadata().get(RETRY_PUSHBACK).expect("a hint");
    Duration::from_millis(asked.to_str().unwrap().parse().unwrap())
}

/// A node that asks for certificates of its own, all at once.
async fn flood(plane: &Plane, node: &str) -> JoinSet<Result<(), Status>> {
    let session = plane.node(node).await.dial(plane).await;
    let session = std::sync::Arc::new(session);
    let mut calls = JoinSet::new();
    for _ in 0..FLOOD {
        let session = session.clone();
        calls.spawn(async move {
            let key = KeyPair::generate().unwrap();
            session.enrol("node", &key).await.map(drop)
        });
    }
    calls
}

/// The value of a series.
async fn series(plane: &Plane, name: &str) -> u64 {
    let text = scrape(plane).await;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flooding_node_is_sent_away_and_no_other() {
    let plane = Plane::with(TIGHT).await;
    let other = plane.node(NODE_B).await.dial(&plane).await;
    let mut flood = flood(&plane, NODE_A).await;
    let waiting = "countersign_admission_waiting{queue=\"signing\"}";
    until(async || series(&plane, waiting).await > 0).await;
    for _ in 0..10 {
        // Never refused, while the flood is: there is always a place for who has none.
        let key = KeyPair::generate().unwrap();
        other.enrol("node", &key).await.unwrap();
        assert!(series(&plane, waiting).await <= 32);
    }
    let (mut granted, mut sent_away) = (0, 0);
    while let Some(ended) = flood.join_next().await {
        match ended.unwrap() {
            Ok(()) => granted += 1,
            Err(status) => {
                let asked = pushback(&status);
                assert!((250..=10_000).contains(&asked.as_millis()), "{asked:?}");
                sent_away += 1;
            }
        }
    }
    assert!(granted > 0 && sent_away > 0, "{granted} and {sent_away}");
    let refused =
        "countersign_admission_refusals_total{queue=\"signing\",reason=\"caller_queue_full\"}";
    assert_eq!(series(&plane, refused).await, sent_away);
    assert_eq!(series(&plane, waiting).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_beyond_its_rate_is_told_when_to_return() {
    let plane = Plane::with("[admission]\nrate_per_caller = 1\nburst_per_caller = 2\n").await;
    let (a, b) = (plane.node(NODE_A).await, plane.node(NODE_B).await);
    let (a, b) = (a.dial(&plane).await, b.dial(&plane).await);
    let key = KeyPair::generate().unwrap();
    a.enrol("node", &key).await.unwrap();
    a.enrol("node", &key).await.unwrap();
    let asked = pushback(&a.enrol("node", &key).await.unwrap_err());
    assert!(asked <= Duration::from_secs(1), "{asked:?}");
    b.enrol("node", &key).await.unwrap_err();
    b.enrol("node", &KeyPair::generate().unwrap())
        .await
        .unwrap();
    until(async || a.enrol("node", &key).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_exhaust_their_sender_and_no_node() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await.dial(&plane).await;
    let stranger = plane.dial(None).await;
    let key = KeyPair::generate().unwrap();
    let mut refused = 0;
    let status = loop {
        let status = stranger.attest("0".repeat(64).as_str(), &key, "node").await;
        let status = status.unwrap_err();
        if status.code() == Code::ResourceExhausted {
            break status;
        }
        assert_eq!(status.message(), "attestation refused");
        refused += 1;
        assert!(refused < 1_000, "an address may fail without end");
    };
    pushback(&status);
    assert!(refused >= 200, "{refused}");
    node.enrol("node", &KeyPair::generate().unwrap())
        .await
        .unwrap();

    // A token that is good is worth as much as before, once the address has waited.
    let token = plane.token(NODE_B).await;
    until(async || stranger.attest(&token, &key, "node").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_hang_up_leave_nothing_behind() {
    let plane = Plane::with(TIGHT).await;
    let mut flood = flood(&plane, NODE_A).await;
    let waiting = "countersign_admission_waiting{queue=\"signing\"}";
    until(async || series(&plane, waiting).await > 0).await;
    flood.shutdown().await;
    let running = "countersign_admission_running{queue=\"signing\"}";
    until(async || series(&plane, waiting).await + series(&plane, running).await == 0).await;
    let node = plane.node(NODE_B).await.dial(&plane).await;
    node.enrol("node", &KeyPair::generate().unwrap())
        .await
        .unwrap();
}
