//! Clocks that were wrong: the control plane starts, says what is wrong, issues nothing that
//! everybody would refuse, and is mended by the clock or by a rotation.

use countersign_envoy::SECRET_TYPE;
use rcgen::KeyPair;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use crate::harness::*;

/// Beyond what CAs are dated back.
const TWO_HOURS: i64 = 2 * 3_600;
const BUNDLE: &str = "spiffe://example.org";

/// What cannot be done, as `countersign status` says.
pub(crate) async fn obstacles(plane: &Plane) -> String {
    plane.ask("status").await["obstacles"].to_string()
}

/// What the probes and the collector are answered.
pub(crate) async fn get(plane: &Plane, path: &str) -> String {
    let address = plane.running().telemetry_address();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_ahead_of_time_is_mended_by_a_rotation() {
    let mut plane = Plane::ahead_by(TWO_HOURS).await;
    plane.stop().await;
    plane.advance(-TWO_HOURS);
    plane.restart().await;
    let told = obstacles(&plane).await;
    for part in ["the root CA", "not valid before", "ca rotate-root"] {
        assert!(told.contains(part), "{told}");
    }
    let ready = get(&plane, "/readyz").await;
    assert!(
        ready.contains("503") && ready.contains("not valid before"),
        "{ready}"
    );
    let metrics = get(&plane, "/metrics").await;
    let alarm = "countersign_alarms_total{kind=\"issuer_not_yet_valid\"} 1";
    assert!(metrics.contains(alarm), "{metrics}");
    // What is under the root cannot mend it, and says what can.
    let refused = plane.cli("ca rotate-issuing --json").await;
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && told.contains("ca rotate-root"),
        "{told}"
    );

    let done = plane.ask("ca rotate-root --wait").await;
    assert_eq!(done["state"], "complete");
    assert_eq!(obstacles(&plane).await, "[]");
    until(async || get(&plane, "/readyz").await.contains("200 OK")).await;
    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let node = plane.node(NODE_A).await;
    let calls = node.dial(&plane).await;
    let key = KeyPair::generate().unwrap();
    calls.enrol(entitlement, &key).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_issues_nothing_until_it_is_right() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let registered = plane.register(WEB, NODE_A).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let calls = node.dial(&plane).await;
    let known = KeyPair::generate().unwrap();
    calls.enrol(entitlement, &known).await.unwrap();
    let issued = plane.ask("status").await["svids_issued"].clone();

    plane.advance(-TWO_HOURS);
    let fresh = KeyPair::generate().unwrap();
    for key in [&fresh, &known] {
        let refused = calls.enrol(entitlement, key).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
    let told = obstacles(&plane).await;
    assert!(told.contains("not valid before"), "{told}");
    assert_eq!(plane.ask("status").await["svids_issued"], issued);

    plane.advance(TWO_HOURS);
    calls.enrol(entitlement, &fresh).await.unwrap();
    assert_eq!(obstacles(&plane).await, "[]");
}

/// A root that was prepared while the clock was right waits for its consumers whatever it says.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_opens_no_gate() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let calls = node.dial(&plane).await;
    let stream = calls.discover(hello()).await.unwrap();
    let prepared = plane.ask("ca rotate-root").await;
    assert_eq!(prepared["state"], "prepared");
    plane.advance(-TWO_HOURS);
    let told = obstacles(&plane).await;
    assert!(told.contains("not valid before"), "{told}");
    let waiting = plane.ask("ca status").await;
    assert!(
        waiting["waiting_for"].to_string().contains(NODE_A),
        "{waiting}"
    );
    drop(stream);
}

async fn waiting(plane: &Plane) -> Vec<String> {
    let status = plane.ask("ca status").await;
    let names = status["waiting_for"].as_array().unwrap().iter();
    names.map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// The state of the root that a rotation made: by a wrong clock it is not the newest.
async fn state(plane: &Plane, rotated: &serde_json::Value) -> String {
    let status = plane.ask("ca status").await;
    let mut roots = status["roots"].as_array().unwrap().iter();
    let root = roots.find(|root| root["key_id"] == rotated["key_id"]);
    root.unwrap()["state"].as_str().unwrap().to_owned()
}

/// The clock of the control plane alone may be wrong: then consumers accept the root before, and
/// would refuse the one after.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_mends_the_clock_waits_for_acknowledgements() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let calls = node.dial(&plane).await;
    let mut stream = calls.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, BUNDLE).await;
    stream.present(BUNDLE).await;
    plane.advance(-TWO_HOURS);
    let rotated = plane.ask("ca rotate-root").await;
    let received = stream.received().await;
    assert_eq!(waiting(&plane).await, [format!("{NODE_A} proxy")]);
    let sent = state(&plane, &rotated).await;
    assert_eq!(sent, "prepared", "sent is not acknowledged");
    stream.accept(&received).await;
    until(async || state(&plane, &rotated).await == "active").await;
    assert_eq!(obstacles(&plane).await, "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_consumers_are_waived_while_no_root_is_valid() {
    const WAIVE: &str = "ca waive --absent --reason unreachable --for 24h";
    let plane = Plane::start().await;
    let (a, b) = (format!("{NODE_A} proxy"), format!("{NODE_B} proxy"));
    plane.node(NODE_A).await;
    let node = plane.node(NODE_B).await;
    let calls = node.dial(&plane).await;
    let mut stream = calls.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, BUNDLE).await;
    stream.present(BUNDLE).await;
    plane.advance(-TWO_HOURS);
    let rotated = plane.ask("ca rotate-root").await;
    let received = stream.received().await;
    plane.advance(TWO_HOURS);
    let refused = plane.cli(WAIVE).await;
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && told.contains("root is valid by this clock"),
        "{told}"
    );

    plane.advance(-TWO_HOURS);
    assert_eq!(waiting(&plane).await, [&*a, &*b]);
    assert!(obstacles(&plane).await.contains("ca waive --absent"));
    plane.ask(WAIVE).await;
    let left = waiting(&plane).await;
    assert_eq!(left, [&*b], "who is connected can acknowledge");
    plane.advance(TWO_HOURS);
    let left = waiting(&plane).await;
    assert_eq!(left, [&*a, &*b], "the clock was wrong, and is right");
    plane.advance(-TWO_HOURS);
    assert_eq!(waiting(&plane).await, [&*b]);
    stream.accept(&received).await;
    until(async || state(&plane, &rotated).await == "active").await;
    let log = plane.folder().join("cp/log");
    let line = format!("audit tail --log {} --json", log.display());
    // With the next checkpoint.
    until(async || {
        let entries = plane.cli(&line).await.stdout;
        String::from_utf8_lossy(&entries).contains("every absent consumer")
    })
    .await;
}
