//! What nodes say about the consumers behind them, hostile nodes included.

use countersign_envoy::SECRET_TYPE;
use countersign_proto::mesh::{Consumer, consumer::Kind};
use tonic::Code;

use crate::harness::*;
use crate::stream::Stream;

const BUNDLE: &str = "spiffe://example.org";
/// As the protocol says.
const MOST_CONSUMERS: usize = 4_096;

fn envoy(id: &str, bundle_version: &str) -> Consumer {
    Consumer {
        id: id.to_owned(),
        kind: Kind::Envoy.into(),
        resource: "ROOTCA".to_owned(),
        bundle_version: bundle_version.to_owned(),
        connected: true,
        ..Consumer::default()
    }
}

async fn stream_of(plane: &Plane, node: &Node) -> Stream {
    let session = node.dial(plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, BUNDLE).await;
    stream.present(BUNDLE).await;
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_report_ends_its_stream_and_no_other() {
    let plane = Plane::start().await;
    let good = plane.node(NODE_B).await;
    let mut bystander = stream_of(&plane, &good).await;
    let node = plane.node(NODE_A).await;
    let unknown = |kind| Consumer {
        kind,
        ..envoy("envoy-1", "")
    };
    for report in [
        vec![envoy("envoy-1", ""); MOST_CONSUMERS + 1],
        vec![unknown(0)],
        vec![unknown(99)],
        vec![envoy(&"a".repeat(1_000), "")],
        vec![envoy("a\nactive", "")],
        vec![envoy("a", "\u{1b}[2J")],
    ] {
        let mut stream = stream_of(&plane, &node).await;
        stream.report(report).await;
        assert_eq!(stream.ended().await.code(), Code::InvalidArgument);
    }
    let status = plane.ask("status").await;
    assert_eq!(
        status["nodes"][0]["consumers"],
        serde_json::json!([]),
        "nothing of a refused report is kept"
    );
    bystander.entitled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_speaks_for_its_own_consumers_alone() {
    let plane = Plane::start().await;
    let (node, liar) = (plane.node(NODE_A).await, plane.node(NODE_B).await);
    let mut stream = stream_of(&plane, &node).await;
    let mut lying = stream_of(&plane, &liar).await;
    stream.report(vec![envoy("envoy-1", "old")]).await;
    plane.ask("ca rotate-root").await;
    let version = plane.bundle().await.version().to_owned();
    stream.changes().await;
    lying.changes().await;

    // It says that the other's Envoy has the bundle, by every name that could be mistaken for it.
    let theirs = format!("{NODE_A} envoy envoy-1 ROOTCA");
    let lies = ["envoy-1", &theirs, NODE_A].map(|id| envoy(id, &version));
    lying.report(lies.to_vec()).await;
    until(async || waiting(&plane).await == [theirs.as_str()]).await;

    // And that another one has not, under the other's name: it counts as its own.
    lying.report(vec![envoy(&theirs, "old")]).await;
    let own = format!("{NODE_B} envoy {theirs} ROOTCA");
    until(async || waiting(&plane).await == [theirs.as_str(), own.as_str()]).await;
    stream.report(vec![envoy("envoy-1", &version)]).await;
    until(async || waiting(&plane).await == [own.as_str()]).await;
    let roots = plane.ask("ca status").await["roots"].clone();
    assert_eq!(roots[0]["state"], "prepared", "no lie has opened the gate");
}

async fn waiting(plane: &Plane) -> Vec<String> {
    let status = plane.ask("ca status").await;
    serde_json::from_value(status["waiting_for"].clone()).unwrap()
}
