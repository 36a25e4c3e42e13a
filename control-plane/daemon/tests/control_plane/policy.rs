//! The registration policy, labels and ends, as an operator sees them.

use countersign_proto::ENTITLEMENT_TYPE;
use rcgen::KeyPair;
use serde_json::json;
use tonic::Code;

use crate::harness::*;

const POLICY: &str = "\
[[policy.rule]]
name = \"web-nodes\"
nodes = [\"/node/*\"]
ids = [\"/web/**\", \"/web\"]
max_ttl = \"1h\"
[[policy.rule]]
name = \"plant\"
by_hand = true
ids = [\"/plc/*\"]
expires_within = \"90d\"
";

fn register(id: &str, more: &str) -> String {
    format!("register --id spiffe://example.org{id} --owner me --json {more}")
}

/// The code and message of a verb that must be denied.
async fn denied(plane: &Plane, line: &str) -> (String, String) {
    let output = plane.cli(line).await;
    assert_eq!(output.status.code(), Some(3), "{line}: {output:?}");
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let text = |key: &str| error["error"][key].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_names_the_rule() {
    let plane = Plane::with(POLICY).await;
    let on_a = format!("--node {NODE_A} --selector unix:uid:1000");
    plane.register(WEB, NODE_A).await;
    let (code, _) = denied(&plane, &register("/db", &on_a)).await;
    assert_eq!(code, "policy_no_rule");
    let long = register("/web/api", &format!("{on_a} --x509-ttl 2h"));
    let (code, message) = denied(&plane, &long).await;
    assert_eq!(code, "policy_ttl");
    assert!(message.contains("rule web-nodes"), "{message}");
    let (code, message) = denied(&plane, &register("/plc/1", "--by-hand")).await;
    assert_eq!(code, "policy_expiry");
    assert!(message.contains("rule plant"), "{message}");
    plane
        .ask(&register("/plc/1", "--by-hand --expires-in 30d").replace("--json", ""))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn criticality_can_be_demanded() {
    let plane = Plane::with("[policy]\nrequire_criticality = true\n").await;
    let web = format!("--node {NODE_A} --selector unix:uid:1000");
    let (code, message) = denied(&plane, &register("/web", &web)).await;
    assert_eq!(code, "policy_criticality");
    assert!(message.contains("require_criticality"), "{message}");
    let line = register("/web", &format!("{web} --criticality standard"));
    let registered = plane.ask(&line.replace("--json", "")).await;
    assert_eq!(registered["criticality"], "standard");
    // What is left out of an update stays, and was named; what is written whole names it.
    let line = register("/web", &web).replace("--json", "");
    assert_eq!(plane.ask(&line).await["outcome"], "unchanged");
    let (code, _) = denied(&plane, &register("/web", &format!("{web} --replace"))).await;
    assert_eq!(code, "policy_criticality");
    let cleared = register("/web", &format!("{web} --clear criticality"));
    assert_eq!(denied(&plane, &cleared).await.0, "policy_criticality");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_policy_stops_enrolments_and_is_counted() {
    let mut plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let registered = plane.register("spiffe://example.org/db", NODE_A).await;
    plane.register(WEB, NODE_A).await;
    assert_eq!(plane.ask("status").await["registrations_refused"], 0);
    plane.set(POLICY);
    plane.restart().await;

    let session = node.dial(&plane).await;
    let key = KeyPair::generate().unwrap();
    let entitlement = registered["entitlement"].as_str().unwrap();
    let refused = session.enrol(entitlement, &key).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(plane.ask("status").await["registrations_refused"], 1);
    let list = plane.ask("list").await;
    let refusals: Vec<_> = list["items"].as_array().unwrap().iter().collect();
    assert_eq!(refusals[0]["refused"]["code"], "policy_no_rule", "{list}");
    assert!(refusals[1]["refused"].is_null(), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_ends_are_shown_and_kept() {
    let mut plane = Plane::start().await;
    let line = format!(
        "register --id {WEB} --node {NODE_A} --selector unix:uid:1000 --owner me \
         --label env=prod --label tier=1 --expires-in 1h"
    );
    let registered = plane.ask(&line).await;
    assert_eq!(registered["labels"], json!({"env": "prod", "tier": "1"}));
    assert!(registered["expires_at"].is_string());
    plane.restart().await;
    let mut listed = plane.ask("list").await["items"][0].take();
    listed["updated"] = json!(false);
    listed["outcome"] = json!("created");
    listed["changes"] = registered["changes"].clone();
    assert_eq!(listed, registered);
    let output = plane.cli(&format!("{line} --label env=test")).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");

    plane.advance(3_601);
    until(async || plane.ask("list").await["items"] == json!([])).await;
    let at = line.replace(
        "--expires-in 1h",
        "--expires-at 2001-01-01T00:00:00Z --json",
    );
    let (code, message) = denied(&plane, &at).await;
    assert_eq!(code, "registration_expired");
    assert!(message.contains("2001-01-01"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_ends_is_taken_from_the_stream() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let line = format!(
        "register --id {WEB} --node {NODE_A} --selector unix:uid:1000 --owner me --expires-in 2m"
    );
    let registered = plane.ask(&line).await;
    let entitlement = registered["entitlement"].as_str().unwrap();
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(ENTITLEMENT_TYPE, "*").await;
    stream.present(entitlement).await;
    let key = KeyPair::generate().unwrap();
    let enrolled = session.enrol(entitlement, &key).await.unwrap();
    let end = enrolled.not_after.unwrap().seconds;
    let expires_at: jiff::Timestamp = registered["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(end <= expires_at.as_second(), "{end} {expires_at}");

    plane.advance(121);
    stream.removed(ENTITLEMENT_TYPE, entitlement).await;
    let late = session.enrol(entitlement, &key).await.unwrap_err();
    assert_eq!(late.code(), Code::NotFound);
}
