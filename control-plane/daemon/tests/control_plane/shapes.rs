//! What scripts and scrapes rely on: the JSON of every verb, and the names of the series.

use std::os::unix::fs::PermissionsExt;

use rcgen::KeyPair;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::*;

/// The keys of an object, sorted; times are RFC 3339 and durations whole seconds.
fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    for (key, value) in object {
        if key.ends_with("_at") || key.ends_with("_until") || key.starts_with("not_") {
            let text = value.as_str().expect(key);
            text.parse::<jiff::Timestamp>().expect(key);
            assert!(text.ends_with('Z'), "{key}: {text}");
        }
        if key.ends_with("_secs") {
            assert!(value.is_u64(), "{key}: {value}");
        }
    }
    let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_keeps_its_contract() {
    let plane = Plane::start().await;
    let mode = std::fs::metadata(plane.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(plane.ask("list").await["items"], serde_json::json!([]));
    let first = plane.register(WEB, NODE_A).await;
    let second = plane.register(WEB, NODE_A).await;
    assert_eq!(
        (&first["updated"], &second["updated"]),
        (&false.into(), &true.into())
    );
    assert_eq!(
        plane.ask("list").await["items"].as_array().unwrap().len(),
        1
    );
    assert_eq!(plane.ask("status").await["trust_domain"], "example.org");
    assert_eq!(
        plane.ask("ca rotate-issuing --wait").await["state"],
        "complete"
    );
    let document = plane.cli("bundle show --format spiffe").await.stdout;
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["keys"][0]["use"], "x509-svid");
    for (line, exit) in [
        ("id check spiffe://example.org/web", 0),
        ("id check spiffe://example.org/web/", 1),
        ("list --colour", 2),
        ("token create --node spiffe://other.org/node/a", 3),
        ("unregister --id spiffe://example.org/none", 3),
    ] {
        let output = plane.cli(line).await;
        assert_eq!(output.status.code(), Some(exit), "{line}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_one_shape_on_stderr() {
    let mut plane = Plane::start().await;
    let output = plane
        .cli("unregister --id spiffe://example.org/none --json")
        .await;
    assert!(output.stdout.is_empty());
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    for key in ["code", "message", "remedy"] {
        assert!(error["error"][key].is_string(), "{error}");
    }
    plane.stop().await;
    assert_eq!(plane.cli("list --json").await.status.code(), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_keeps_its_json() {
    const REGISTRATION: [&str; 15] = [
        "by_hand",
        "created_at",
        "criticality",
        "default",
        "dns",
        "entitlement",
        "expires_at",
        "hint",
        "id",
        "labels",
        "node",
        "owner",
        "refused",
        "selectors",
        "x509_ttl_secs",
    ];
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let token = plane.ask(&format!("token create --node {NODE_B}")).await;
    assert_eq!(keys(&token), ["expires_at", "node", "path", "token"]);

    let register = format!(
        "register --id {WEB} --node {NODE_A} --selector unix:uid:1000 --owner me \
         --x509-ttl 90s --dns web.local --hint internal --default --label env=prod --expires-in 30d"
    );
    let mut registered = plane.ask(&register).await;
    assert_eq!(registered["x509_ttl_secs"], 90);
    let session = node.dial(&plane).await;
    let entitlement = registered["entitlement"].as_str().unwrap().to_owned();
    let key = KeyPair::generate().unwrap();
    session.enrol(&entitlement, &key).await.unwrap();
    let object = registered.as_object_mut().unwrap();
    assert_eq!(object.remove("updated"), Some(false.into()));
    assert_eq!(object.remove("outcome"), Some("created".into()));
    let changes = object.remove("changes").unwrap();
    assert_eq!(keys(&changes[0]), ["after", "before", "field"]);
    assert_eq!(keys(&registered), REGISTRATION);
    let list = plane.ask("list").await;
    assert_eq!(keys(&list), ["items"]);
    assert_eq!(list["items"], serde_json::json!([registered]));
    let export = plane.ask("export").await;
    assert_eq!(keys(&export), ["registrations", "version"]);
    let file = plane.folder().join("registrations.json");
    std::fs::write(&file, export.to_string()).unwrap();
    let applied = plane.ask(&format!("apply -f {}", file.display())).await;
    let counts = [
        "committed",
        "created",
        "dry_run",
        "items",
        "refused",
        "unchanged",
        "updated",
    ];
    assert_eq!(keys(&applied), counts);
    assert_eq!(applied["items"][0]["outcome"], "unchanged");

    let status = plane.ask("status").await;
    for (place, shape) in [
        (
            "",
            "alarms api_address at bundle_version cas_issued epoch level listeners nodes obstacles \
             refused_attestations registrations registrations_by_hand registrations_refused replicas \
             rotation sequence server_certificates_issued started_at svids_issued telemetry_address totals \
             trust_domain version",
        ),
        (
            "/nodes/0",
            "attested_at bundle_since bundle_version_acknowledged connected consumers consumers_more \
             credential_not_after endpoints id needs_attention reason replica since state",
        ),
        (
            "/nodes/0/endpoints/1",
            "acknowledged criticality entitlement id issued_at needs_attention not_after owner refused \
             renewal_due served since state wanted",
        ),
        ("/refused_attestations", "dropped dropped_last items"),
        (
            "/totals",
            "by_state consumers consumers_behind endpoints endpoints_needing_attention nodes \
             nodes_connected nodes_needing_attention",
        ),
    ] {
        let found = keys(status.pointer(place).unwrap()).join(" ");
        assert_eq!(found, shape, "{place}");
    }
    let status = plane.ask("ca status").await;
    assert_eq!(
        keys(&status).join(" "),
        "awaits_since bundle_version intermediates issues_until issuing key_stores laggards obstacles \
         replica roots signer waiting_for waiting_for_more waivers"
    );
    for tier in ["roots", "issuing"] {
        assert_eq!(
            keys(&status[tier][0]).join(" "),
            "issued_by key_id not_after not_before renew_by replica serial state store subject"
        );
    }
    assert_eq!(keys(&status["key_stores"][0]), ["reason", "state", "store"]);
    let rotated = plane.ask("ca rotate-issuing").await;
    let progress = [
        "key_id",
        "laggards",
        "state",
        "waiting_for",
        "waiting_for_more",
    ];
    assert_eq!(keys(&rotated), progress);
    let removed = plane.ask(&format!("unregister --id {WEB}")).await;
    assert_eq!(keys(&removed), ["items", "valid_until"]);
    assert_eq!(removed["items"], serde_json::json!([registered]));
    let replicas = plane.ask("replica list").await;
    let alone = serde_json::json!({
        "items": [],
        "level": { "level": 3, "speaks": 3, "held_back_by": [] },
    });
    assert_eq!(replicas, alone);
    let nodes = plane.ask("node list").await;
    assert_eq!(
        keys(&nodes["items"][0]).join(" "),
        "attested_at banned connected_since credential_not_after evicted id last_seen lineage \
         registrations replica serials unused_tokens"
    );
    let banned = plane
        .ask(&format!("node ban --node {NODE_A} --reason shape"))
        .await;
    assert_eq!(
        keys(&banned).join(" "),
        "banned log_index node tokens_revoked valid_until was_connected"
    );
    let unbanned = plane
        .ask(&format!("node unban --node {NODE_A} --reason shape"))
        .await;
    assert_eq!(keys(&unbanned), ["log_index", "node"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn series_keep_their_names() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let token = plane.token(NODE_A).await;
    let session = node.dial(&plane).await;
    let stream = session.discover(hello()).await.unwrap();
    let thief = plane.dial(None).await;
    thief
        .attest(&token, &KeyPair::generate().unwrap(), "node")
        .await
        .unwrap_err();
    drop(stream);

    let text = scrape(&plane).await;
    for phase in ["attest", "authorize", "lint", "log", "sign"] {
        let count = format!("countersign_issuance_duration_seconds_count{{phase=\"{phase}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&count));
        assert!(
            line.is_some_and(|n| n.parse::<u64>().unwrap() > 0),
            "{phase}: {text}"
        );
    }
    for line in [
        "countersign_alarms_total{kind=\"node_connected\"} 1",
        "countersign_alarms_total{kind=\"issuer_expired\"} 0",
        "countersign_attestations_total{result=\"refused\"} 1",
        "countersign_nodes 1",
        "countersign_admission_running{queue=\"signing\"} 0",
        "countersign_admission_waiting{queue=\"attestation\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    for role in ["root", "issuing"] {
        let name = format!("countersign_ca_not_after_timestamp_seconds{{role=\"{role}\"}} ");
        assert!(text.contains(&name), "{text}");
    }
    assert_eq!(text.matches("# EOF").count(), 1);
    let page = countersign_reference::written("control-plane-metrics.md");
    let unlisted = countersign_reference::unlisted(&page, &text);
    assert_eq!(unlisted, [""; 0], "`make reference` lists what is exposed");
    assert!(!text.contains("spiffe://"), "no identity is a label");
}

pub(crate) async fn scrape(plane: &Plane) -> String {
    get(plane, "/metrics").await
}

/// What a probe of this path is answered.
pub(crate) async fn get(plane: &Plane, path: &str) -> String {
    let address = plane.running().telemetry_address();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = tokio::time::timeout(BOUND, tcp.read_to_string(&mut text)).await;
    read.expect("an answer").unwrap();
    text
}
