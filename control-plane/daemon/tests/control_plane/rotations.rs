//! Rotations as an operator starts them and nodes live through them.

use countersign_envoy::SECRET_TYPE;
use countersign_proto::ENTITLEMENT_TYPE;
use countersign_proto::mesh::node_message::Message;
use countersign_proto::mesh::{HandshakeReport, ServedReport};
use rcgen::KeyPair;
use serde_json::json;

use crate::harness::*;

const BUNDLE: &str = "spiffe://example.org";

#[tokio::test(flavor = "multi_thread")]
async fn a_root_waits_for_the_acknowledgement_of_every_node() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, "spiffe://example.org").await;
    stream.present("spiffe://example.org").await;

    let prepared = plane.ask("ca rotate-root").await;
    assert_eq!(prepared["state"], "prepared");
    let received = stream.received().await;
    let waiting = plane.ask("ca status").await;
    assert!(
        waiting["waiting_for"][0]
            .as_str()
            .unwrap()
            .starts_with(NODE_A)
    );
    let roots = waiting["roots"].as_array().unwrap().iter();
    let states: Vec<_> = roots.map(|root| root["state"].clone()).collect();
    assert!(states.contains(&"prepared".into()), "{states:?}");

    stream.accept(&received).await;
    let done = plane.ask("ca rotate-root --wait");
    let done = async {
        // Resumes the prepared root, or finds the gate just opened and prepares the next one: either
        // way the node has to acknowledge what it is sent.
        tokio::select! {
            done = done => done,
            never = stream.acknowledge_all() => never,
        }
    };
    assert_eq!(done.await["state"], "complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_of_a_root_are_told_in_order() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, BUNDLE).await;
    stream.present(BUNDLE).await;
    let mut verb = plane.follow("ca rotate-root --wait");
    let begun = verb.until("countersign --admin-socket").await;
    assert!(begun[0].starts_with("prepared "), "{begun:?}");
    assert!(begun[0].contains("waits for 1 consumer"), "{begun:?}");
    assert_eq!(begun[1], format!("  {NODE_A} proxy, connected"));
    assert!(begun[3].contains("ca waive --consumer"), "{begun:?}");
    let told = tokio::select! {
        told = verb.rest() => told,
        never = stream.acknowledge_all() => never,
    };
    let states = told.iter().filter_map(|line| line.split(' ').next());
    let states: Vec<_> = states.collect();
    assert!(states.ends_with(&["activated", "complete"]), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_root_resumes_after_a_restart_and_still_waits() {
    let mut plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let prepared = plane.ask("ca rotate-root").await;
    plane.restart().await;
    let status = plane.ask("ca status").await;
    let waiting = status["waiting_for"][0].as_str().unwrap();
    assert!(waiting.starts_with(NODE_A), "{status}");
    assert_eq!(state_of(&status, &prepared["key_id"]), "prepared");

    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, BUNDLE).await;
    let received = stream.received().await;
    let status = plane.ask("ca status").await;
    assert_eq!(
        state_of(&status, &prepared["key_id"]),
        "prepared",
        "sent is not acknowledged"
    );
    stream.accept(&received).await;
    until(async || {
        let status = plane.ask("ca status").await;
        state_of(&status, &prepared["key_id"]) == "active"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_issuing_ca_waits_for_connected_workloads() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(ENTITLEMENT_TYPE, "*").await;
    stream.subscribe(SECRET_TYPE, entitlement).await;
    let enrol = async || {
        let key = KeyPair::generate().unwrap();
        session.enrol(entitlement, &key).await.unwrap();
    };
    enrol().await;
    stream.present(entitlement).await;

    let mut verb = plane.follow("ca rotate-issuing --wait");
    let begun = verb.until(&format!("  {NODE_A} {WEB}, connected")).await;
    assert!(begun[0].starts_with("activated "), "{begun:?}");
    // One more rotation: whoever renews under the newest has left the older ones as well.
    plane.ask("ca rotate-issuing").await;
    enrol().await;
    let told = tokio::select! {
        told = verb.rest() => told,
        never = stream.acknowledge_all() => never,
    };
    assert!(told.last().unwrap().starts_with("complete "), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn course_of_a_rotation_is_told_afterwards() {
    let plane = Plane::start().await;
    assert_eq!(plane.ask("ca rotation").await["new_root"], json!(null));
    let node = plane.node(NODE_A).await;
    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, BUNDLE).await;
    stream.present(BUNDLE).await;
    stream.subscribe(SECRET_TYPE, entitlement).await;
    let enrol = async || {
        let key = KeyPair::generate().unwrap();
        let enrolled = session.enrol(entitlement, &key).await.unwrap();
        enrolled.serial
    };
    let old_serial = enrol().await;
    stream.present(entitlement).await;

    let prepared = plane.ask("ca rotate-root").await;
    stream.send(served(entitlement, &old_serial)).await;
    // Two before the rotation, three meanwhile.
    stream.send(handshakes_failed(2)).await;
    stream.send(handshakes_failed(5)).await;
    let course = async || plane.ask("ca rotation").await;
    until(async || course().await["lanes"][0]["failures"][0]["count"] == 3).await;
    let waiting = course().await;
    assert_eq!(waiting["new_root"], prepared["key_id"], "{waiting}");
    assert_eq!(waiting["activated_at"], json!(null), "{waiting}");
    let lane = &waiting["lanes"][0];
    assert_eq!(lane["consumer"], format!("{NODE_A} proxy"));
    assert_eq!(lane["acknowledged_at"], json!(null));
    assert_eq!(lane["sightings"][0]["root"], waiting["old_root"]);

    let acknowledged = async || course().await["activated_at"] != json!(null);
    tokio::select! {
        () = until(acknowledged) => {}
        never = stream.acknowledge_all() => never,
    }
    let new_serial = enrol().await;
    stream.send(served(entitlement, &new_serial)).await;
    stream.send(handshakes_failed(7)).await;
    until(async || course().await["lanes"][0]["failures"][1]["count"] == 2).await;
    let lane = &course().await["lanes"][0];
    assert_eq!(lane["sightings"][1]["root"], prepared["key_id"], "{lane}");
    assert!(lane["acknowledged_at"].is_string(), "{lane}");
    let human = plane.cli("ca rotation").await;
    let human = String::from_utf8(human.stdout).unwrap();
    assert!(human.contains("it signs since"), "{human}");
}

fn served(entitlement: &str, serial: &[u8]) -> Message {
    Message::Served(ServedReport {
        entitlement: entitlement.to_owned(),
        serial: serial.to_owned(),
        first_seen: None,
    })
}

fn handshakes_failed(failed: u64) -> Message {
    Message::Handshakes(HandshakeReport { failed })
}

fn state_of(status: &serde_json::Value, key_id: &serde_json::Value) -> String {
    let roots = status["roots"].as_array().unwrap();
    let root = roots.iter().find(|root| root["key_id"] == *key_id);
    root.unwrap()["state"].as_str().unwrap().to_owned()
}
