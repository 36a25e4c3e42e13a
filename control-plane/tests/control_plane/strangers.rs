//! Connections of whoever has no identity: they take nothing from the nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::KeyPair;
use tokio::task::JoinSet;

use crate::harness::*;
use crate::shapes::{get, scrape};

/// More than strangers have places for.
const FLOOD: usize = 1_100;
/// Places of strangers.
const PLACES: usize = 1_024;
/// Dialled at once: more only wait for each other.
const AT_ONCE: usize = 32;
/// What a node waits for, whatever strangers hold: 2 s on a machine that does nothing else.
const PROMPTLY: Duration = Duration::from_secs(10);

/// Sessions without a certificate that answer every ping.
async fn strangers(plane: &Plane) -> Vec<Session> {
    let bundle = Arc::new(plane.bundle().await);
    let address = plane.running().api_address();
    let mut dialling = JoinSet::new();
    let mut sessions = Vec::new();
    for _ in 0..FLOOD {
        if dialling.len() >= AT_ONCE {
            sessions.extend(dialling.join_next().await.unwrap().unwrap());
        }
        let bundle = bundle.clone();
        dialling.spawn(async move { dial(address, &bundle, None).await.ok() });
    }
    sessions.extend(dialling.join_all().await.into_iter().flatten());
    sessions
}

#[tokio::test(flavor = "multi_thread")]
async fn known_node_enrols_whatever_strangers_hold() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let strangers = strangers(&plane).await;
    assert!(strangers.len() >= PLACES, "{}", strangers.len());

    let begun = Instant::now();
    let session = node.dial(&plane).await;
    let key = KeyPair::generate().unwrap();
    session.enrol("node", &key).await.unwrap();
    assert!(begun.elapsed() < PROMPTLY, "{:?}", begun.elapsed());

    let metrics = scrape(&plane).await;
    for line in [
        "countersign_listener_places{listener=\"api\",kind=\"strangers\"} 1024",
        "countersign_listener_places_taken{listener=\"api\",kind=\"strangers\"} 1024",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let ready = get(&plane, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let degraded = "\r\n\r\nok\ndegraded: api: all 1024 places of strangers are taken\n";
    assert!(ready.ends_with(degraded), "{ready}");

    // Another first contact still gets in, at the cost of the oldest.
    plane.node(NODE_B).await;
}
