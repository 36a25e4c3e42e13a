//! How long a registration takes to reach its node, alone and among a thousand others.

use std::time::{Duration, Instant};

use countersign_envoy::SECRET_TYPE;
use countersign_proto::admin::{RegisterRequest, Registration};
use rcgen::KeyPair;

use crate::harness::*;

const SAMPLES: usize = 100;
const OTHERS: usize = 1_000;
/// An unoptimised build on a busy machine; an idle one needs a fiftieth of it.
const WORST: Duration = Duration::from_secs(1);

fn wanted(path: &str, node: &str) -> RegisterRequest {
    RegisterRequest::whole(Registration {
        id: format!("spiffe://example.org/{path}"),
        node: node.to_owned(),
        selectors: vec!["unix:uid:1000".to_owned()],
        owner: "me".to_owned(),
        ..Registration::default()
    })
}

async fn others(plane: &Plane, nodes: impl Fn(usize) -> String) {
    let mut admin = plane.admin().await;
    for n in 0..OTHERS {
        let request = wanted(&format!("other-{n}"), &nodes(n));
        admin.register(request).await.unwrap();
    }
}

/// From the call of `register` to the chain on the node's stream, sorted.
async fn latencies(plane: &Plane) -> Vec<Duration> {
    let node = plane.node(NODE_A).await;
    let session = node.dial(plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.entitled().await;
    let mut admin = plane.admin().await;
    let mut latencies = Vec::with_capacity(SAMPLES);
    for n in 0..SAMPLES {
        let key = KeyPair::generate().unwrap();
        let begun = Instant::now();
        let request = wanted(&format!("measured-{n}"), NODE_A);
        let answer = admin.register(request).await.unwrap().into_inner();
        let entitlement = answer.registration.unwrap().entitlement;
        stream.present(&entitlement).await;
        stream.subscribe(SECRET_TYPE, &entitlement).await;
        session.enrol(&entitlement, &key).await.unwrap();
        stream.present(&entitlement).await;
        latencies.push(begun.elapsed());
    }
    latencies.sort();
    latencies
}

#[allow(clippy::print_stdout, reason = "a measurement is for who runs it")]
fn judge(what: &str, latencies: &[Duration]) {
    let quantile = |q: usize| latencies[(latencies.len() - 1) * q / 100];
    let (p50, p99) = (quantile(50), quantile(99));
    println!("register to chain, {what}: p50 {p50:?}, p99 {p99:?}");
    // Not the slowest: one of a hundred tells of the machine alone.
    assert!(p50 < WORST, "{what}: p50 {p50:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_reaches_its_node_at_once() {
    let plane = Plane::start().await;
    judge("alone", &latencies(&plane).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_registrations_of_the_node_slow_nothing() {
    let plane = Plane::start().await;
    others(&plane, |_| NODE_A.to_owned()).await;
    judge("1000 on the same node", &latencies(&plane).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_registrations_elsewhere_slow_nothing() {
    let plane = Plane::start().await;
    others(&plane, |n| format!("spiffe://example.org/node/n{n}")).await;
    judge("1000 on other nodes", &latencies(&plane).await);
}
