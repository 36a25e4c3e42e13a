//! Rotations that go on without who does not acknowledge.

use countersign_proto::admin as wire;
use countersign_proto::convert::time::duration;
use tonic::{Code, Status};

use crate::harness::*;

fn proxy(node: &str) -> String {
    format!("{node} proxy")
}

async fn waive(plane: &Plane, consumers: &[&str], secs: u64) -> Result<(), Status> {
    let asked = wire::WaiveRequest {
        consumers: consumers.iter().map(ToString::to_string).collect(),
        reason: "host is dead".to_owned(),
        lasting: Some(duration(std::time::Duration::from_secs(secs))),
        absent: false,
    };
    plane.admin().await.waive(asked).await.map(drop)
}

/// State of the newest root, and whom it waits for.
async fn status(plane: &Plane) -> (String, Vec<String>) {
    let status = plane.ask("ca status").await;
    let root = status["roots"][0]["state"].as_str().unwrap().to_owned();
    let waiting = status["waiting_for"].as_array().unwrap().iter();
    let waiting = waiting.map(|it| it.as_str().unwrap().to_owned());
    (root, waiting.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn waived_rotation_goes_on_without_the_waived_alone() {
    let mut plane = Plane::start().await;
    let (a, b) = (proxy(NODE_A), proxy(NODE_B));
    // Both attested and are gone: their certificates are valid.
    plane.node(NODE_A).await;
    plane.node(NODE_B).await;
    let nothing = waive(&plane, &[&a], 600).await.unwrap_err();
    assert!(nothing.message().contains("no root waits"), "{nothing}");
    plane.ask("ca rotate-root").await;
    let stuck = ("prepared".to_owned(), vec![a.clone(), b.clone()]);
    assert_eq!(status(&plane).await, stuck);
    let text = plane.cli("ca status").await;
    let text = String::from_utf8(text.stdout).unwrap();
    let socket = plane.socket();
    for name in [&a, &b] {
        let row = text.lines().find(|line| line.starts_with(name.as_str()));
        let row = row.unwrap_or_else(|| panic!("{text}"));
        assert!(
            row.contains("not connected") && row.contains("in "),
            "{text}"
        );
        let command = format!(
            "countersign --admin-socket {} ca waive --consumer '{name}' --reason WHY --for 24h",
            socket.display()
        );
        assert!(text.contains(&command), "{text}");
    }

    let mistyped = waive(&plane, &[NODE_A], 600).await.unwrap_err();
    assert_eq!(mistyped.code(), Code::NotFound, "{mistyped}");
    waive(&plane, &[&a], 60).await.unwrap();
    plane.restart().await;
    let half = ("prepared".to_owned(), vec![b.clone()]);
    assert_eq!(status(&plane).await, half, "it opens for nobody else");
    let shown = plane.ask("ca status").await;
    assert_eq!(shown["waivers"][0]["consumer"], a.as_str());
    plane.advance(61);
    assert_eq!(status(&plane).await, stuck, "its time is over");

    waive(&plane, &[&a, &b], 600).await.unwrap();
    until(async || status(&plane).await.0 == "active").await;
    let log = plane.folder().join("cp/log");
    let verified = plane
        .cli(&format!("audit verify --log {}", log.display()))
        .await;
    assert!(verified.status.success(), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiver_that_is_taken_back_blocks_again() {
    let plane = Plane::start().await;
    plane.node(NODE_A).await;
    plane.node(NODE_B).await;
    plane.ask("ca rotate-root").await;
    let a = proxy(NODE_A);
    waive(&plane, &[&a], 600).await.unwrap();
    let asked = wire::UnwaiveRequest {
        consumer: a.clone(),
    };
    plane.admin().await.unwaive(asked).await.unwrap();
    assert_eq!(status(&plane).await.1, [a, proxy(NODE_B)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn evicted_node_holds_no_rotation() {
    let plane = Plane::start().await;
    plane.node(NODE_A).await;
    plane.ask("ca rotate-root").await;
    assert_eq!(status(&plane).await.1, [proxy(NODE_A)]);
    plane
        .ask(&format!("node evict --node {NODE_A} --reason dead"))
        .await;
    until(async || status(&plane).await.0 == "active").await;
}
