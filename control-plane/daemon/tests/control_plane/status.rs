//! What `countersign status` tells of nodes, identities and consumers, and `list` of registrations.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use countersign_envoy::SECRET_TYPE;
use countersign_proto::admin as wire;
use countersign_proto::mesh::{Consumer, Hello, consumer::Kind};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::harness::*;
use crate::session::hello;

const DB: &str = "spiffe://example.org/pay/db";
const BUNDLE: &str = "spiffe://example.org";

/// The row of an identity.
async fn row(plane: &Plane, id: &str) -> Value {
    let status = plane.ask("status").await;
    let nodes = status["nodes"].as_array().unwrap().iter();
    let rows = nodes.flat_map(|node| node["endpoints"].as_array().unwrap());
    let mut found = rows.filter(|row| row["id"] == id);
    let row = found.next().unwrap_or_else(|| panic!("{id}: {status}"));
    row.clone()
}

async fn state(plane: &Plane, id: &str) -> String {
    row(plane, id).await["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_that_nobody_holds_say_why() {
    let plane = Plane::start().await;
    let registered = plane.register(WEB, NODE_A).await;
    assert_eq!(state(&plane, WEB).await, "never_attested");
    let node = plane.node(NODE_A).await;
    assert_eq!(state(&plane, WEB).await, "away");
    assert_eq!(row(&plane, WEB).await["needs_attention"], true);

    let session = node.dial(&plane).await;
    let greeting = Hello {
        enrol_ahead: Some(1),
        ..hello()
    };
    let mut stream = session.discover(greeting).await.unwrap();
    stream.entitled().await;
    plane.register(DB, NODE_A).await;
    until(async || state(&plane, WEB).await == "awaited").await;
    assert_eq!(state(&plane, DB).await, "not_asked_for");

    let entitlement = registered["entitlement"].as_str().unwrap();
    let key = KeyPair::generate().unwrap();
    let enrolled = session.enrol(entitlement, &key).await.unwrap();
    assert_eq!(state(&plane, WEB).await, "unacknowledged");
    stream.subscribe(SECRET_TYPE, entitlement).await;
    stream.present(entitlement).await;
    until(async || state(&plane, WEB).await == "held").await;
    assert_eq!(state(&plane, NODE_A).await, "held");
    let held = row(&plane, WEB).await;
    assert_eq!(held["wanted"], held["acknowledged"]);
    assert_eq!(held["wanted"], hex::encode(&enrolled.serial));
    assert_eq!(held["owner"], "me");
    let time = |key: &str| {
        held[key]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    let (due, end) = (time("renewal_due"), time("not_after"));
    assert!(time("issued_at") < due && due < end, "{held}");
    assert_eq!(held["since"], held["issued_at"]);

    plane
        .ask(&format!(
            "register --id {WEB} --node {NODE_A} --selector unix:uid:1000 --dns web.local"
        ))
        .await;
    let changed = row(&plane, WEB).await;
    assert_eq!(changed["state"], "changed", "{changed}");
    assert_eq!(changed["needs_attention"], false, "{changed}");
    plane.advance(11);
    let unchanged = row(&plane, WEB).await;
    assert_eq!(unchanged["since"], changed["since"], "{unchanged}");
    assert!(changed["since"].is_string(), "{changed}");
    assert_eq!(unchanged["needs_attention"], true, "{unchanged}");

    let secs = due.duration_since(plane_now(&plane).await).as_secs();
    plane.advance(secs + 20);
    assert_eq!(state(&plane, WEB).await, "overdue");
    drop((session, stream));
    until(async || state(&plane, WEB).await == "away").await;
    plane
        .ask(&format!("node evict --node {NODE_A} --reason lost"))
        .await;
    assert_eq!(state(&plane, WEB).await, "evicted");
    plane
        .ask(&format!("node ban --node {NODE_A} --reason lost"))
        .await;
    assert_eq!(state(&plane, WEB).await, "banned");
    let status = plane.ask("status").await;
    assert_eq!(status["nodes"][0]["reason"], "lost");
}

async fn plane_now(plane: &Plane) -> jiff::Timestamp {
    let status = plane.ask("status").await;
    status["at"].as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_count_what_a_filter_leaves_out() {
    let plane = Plane::start().await;
    plane.register(WEB, NODE_A).await;
    plane.register(DB, NODE_B).await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    let _stream = session.discover(hello()).await.unwrap();
    let status = plane.ask("status").await;
    assert_eq!(status["totals"]["nodes"], 2, "{status}");
    assert_eq!(status["totals"]["nodes_connected"], 1, "{status}");
    assert_eq!(status["totals"]["endpoints"], 3, "{status}");
    assert_eq!(status["totals"]["by_state"]["never_attested"], 1);

    let problems = plane.ask("status --problems").await;
    assert_eq!(problems["totals"]["endpoints"], 3, "{problems}");
    let shown = problems["nodes"].as_array().unwrap();
    assert_eq!(shown.len(), 1, "{problems}");
    assert_eq!(shown[0]["endpoints"][0]["id"], DB);

    // By whole segments.
    for (id, found) in [
        (DB, 1),
        ("spiffe://example.org/pay", 1),
        ("spiffe://example.org/pa", 0),
    ] {
        let status = plane.ask(&format!("status --id {id}")).await;
        assert_eq!(status["totals"]["endpoints"], found, "{id}: {status}");
        assert_eq!(status["nodes"].as_array().unwrap().len(), found);
    }
    let status = plane.ask(&format!("status --node {NODE_A}")).await;
    assert_eq!(status["totals"]["nodes"], 1, "{status}");
    assert_eq!(status["nodes"][0]["id"], NODE_A);
}

/// A typing error is no good news.
#[tokio::test(flavor = "multi_thread")]
async fn filter_that_finds_nothing_is_not_all_well() {
    let plane = Plane::start().await;
    plane.register(WEB, NODE_A).await;
    for filter in [
        "--node spiffe://example.org/node/ab",
        "--id spiffe://example.org/wen",
    ] {
        let output = plane.cli(&format!("status {filter}")).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("no node and no identity"), "{text}");
        assert!(
            text.contains("list") && !text.contains("all is well"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_say_what_they_acknowledged_and_since_when() {
    let plane = Plane::start().await;
    let node = plane.node(NODE_A).await;
    let session = node.dial(&plane).await;
    let mut stream = session.discover(hello()).await.unwrap();
    stream.subscribe(SECRET_TYPE, BUNDLE).await;
    stream.present(BUNDLE).await;
    let version = plane.bundle().await.version().to_owned();
    let serial = [0x01; 16];
    let consumer = |id: &str, bundle_version: &str, serials: Vec<Vec<u8>>| Consumer {
        id: id.to_owned(),
        kind: Kind::Envoy.into(),
        resource: if serials.is_empty() { "ROOTCA" } else { "" }.to_owned(),
        bundle_version: bundle_version.to_owned(),
        connected: true,
        serials,
        ..Consumer::default()
    };
    let report = |version: &str| {
        let leaf = consumer("envoy:1:1:default", "", vec![serial.to_vec()]);
        vec![leaf, consumer("envoy:1:1:ROOTCA", version, Vec::new())]
    };
    stream.report(report("old")).await;
    let consumers = async || plane.ask("status").await["nodes"][0]["consumers"].clone();
    until(async || consumers().await.as_array().unwrap().len() == 2).await;
    let before = consumers().await;
    assert_eq!(before[0]["serials"], json!([hex::encode(serial)]));
    assert_eq!(before[0]["validates"], false);
    assert_eq!(before[1]["bundle_version"], "old");
    let status = plane.ask("status").await;
    assert_eq!(status["totals"]["consumers"], 1, "{status}");
    assert_eq!(status["totals"]["consumers_behind"], 1, "{status}");

    plane.advance(60);
    stream.report(report(&version)).await;
    until(async || consumers().await[1]["bundle_version"] == version.as_str()).await;
    let after = consumers().await;
    assert_eq!(after[1]["since"], before[1]["since"], "it stayed connected");
    assert_ne!(after[1]["bundle_since"], before[1]["bundle_since"]);
    let status = plane.ask("status").await;
    assert_eq!(status["totals"]["consumers_behind"], 0, "{status}");
    drop((session, stream));
    until(async || consumers().await[1]["connected"] == false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_root_says_whom_it_waits_for() {
    let plane = Plane::start().await;
    assert_eq!(plane.ask("status").await["rotation"], Value::Null);
    let _away = plane.node(NODE_A).await;
    plane.ask("ca rotate-root").await;
    let rotation = plane.ask("status").await["rotation"].clone();
    let waited = &rotation["waiting_for"][0];
    assert_eq!(waited["consumer"], format!("{NODE_A} proxy"), "{rotation}");
    assert_eq!(waited["connected"], false);
    assert!(waited["until"].is_string(), "{rotation}");
    let certificates = plane.ask("status").await;
    assert_eq!(certificates["svids_issued"], 1, "of the node alone");
    assert!(
        certificates["cas_issued"].as_u64() > Some(1),
        "{certificates}"
    );
    assert!(certificates["server_certificates_issued"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_are_found_by_every_filter() {
    let plane = Plane::start().await;
    let register = async |id: &str, node: &str, more: &str| {
        let line = format!("register --id {id} --node {node} --selector unix:uid:1000 {more}");
        plane.ask(&line).await
    };
    register(WEB, NODE_A, "--owner web --label env=prod --expires-in 1h").await;
    register(DB, NODE_B, "--owner pay --label env=test --dns db.local").await;
    let found = async |filter: &str| {
        let list = plane.ask(&format!("list {filter}")).await;
        let items = list["items"].as_array().unwrap().iter();
        let ids: Vec<_> = items
            .map(|it| it["id"].as_str().unwrap().to_owned())
            .collect();
        ids
    };
    for (filter, expected) in [
        ("", &[DB, WEB][..]),
        ("--id spiffe://example.org/pay", &[DB]),
        ("--id spiffe://example.org/pa", &[]),
        (&format!("--node {NODE_A}"), &[WEB]),
        ("--owner pay", &[DB]),
        ("--label env=prod", &[WEB]),
        ("--label env=prod --owner pay", &[]),
        ("--ends-within 2h", &[WEB]),
        ("--ends-within 30m", &[]),
    ] {
        assert_eq!(found(filter).await, expected, "{filter}");
    }
}

/// A cable to an address, and what cuts it: nothing is closed then, and nothing arrives any more.
async fn cable(to: SocketAddr) -> (SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, is_cut) = oneshot::channel();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            _ = is_cut => std::future::pending().await,
        }
    });
    (address, cut)
}

/// As operators are promised; a machine that is busy takes some of it.
const NOTICED_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_vanished_is_said_within_ten_seconds() {
    let plane = Plane::start().await;
    plane.register(WEB, NODE_A).await;
    let node = plane.node(NODE_A).await;
    let (address, cut) = cable(plane.running().api_address()).await;
    let bundle = Arc::new(plane.bundle().await);
    let session = dial(address, &bundle, Some((&node.chain, &node.key)));
    let session = session.await.unwrap();
    let mut stream = session.discover(hello()).await.unwrap();
    stream.entitled().await;
    assert_ne!(state(&plane, WEB).await, "away");
    cut.send(()).unwrap();
    let since = Instant::now();
    until(async || state(&plane, WEB).await == "away").await;
    let noticed = since.elapsed();
    eprintln!("noticed after {noticed:?}");
    assert!(noticed < NOTICED_WITHIN, "{noticed:?}");
}

/// More than are read at once, twice over.
const MANY: usize = 2_200;
/// Registrations of one node.
const EACH: usize = 5;
/// Calls under way at once.
const AT_ONCE: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn a_large_fleet_is_told_page_by_page() {
    let plane = Plane::start().await;
    let admin = plane.admin().await;
    let name = |n: usize| format!("spiffe://example.org/w/{n}");
    let register = |n: usize| {
        let mut admin = admin.clone();
        let registration = wire::Registration {
            id: name(n),
            node: format!("spiffe://example.org/node/{}", n / EACH),
            selectors: vec!["unix:uid:1000".to_owned()],
            owner: "me".to_owned(),
            ..wire::Registration::default()
        };
        async move {
            let registration = Some(registration);
            let request = wire::RegisterRequest {
                registration,
                mode: wire::RegisterMode::Create.into(),
                ..wire::RegisterRequest::default()
            };
            admin.register(request).await.unwrap();
        }
    };
    // How many calls a connection takes at once is known with its first answer.
    register(0).await;
    let mut calls = JoinSet::new();
    for n in 1..MANY {
        if calls.len() == AT_ONCE {
            calls.join_next().await.unwrap().unwrap();
        }
        calls.spawn(register(n));
    }
    calls.join_all().await;

    let since = Instant::now();
    let listed = listed(&admin).await.unwrap();
    let ids: BTreeSet<_> = listed.iter().map(|it| it.id.clone()).collect();
    assert_eq!((listed.len(), ids.len()), (MANY, MANY));
    assert!(listed.is_sorted_by_key(|it| it.id.clone()));
    eprintln!("{MANY} listed after {:?}", since.elapsed());

    let since = Instant::now();
    let answer = admin.clone().status(wire::StatusRequest::default()).await;
    let mut messages = answer.unwrap().into_inner();
    let (mut rows, mut totals) = (0, None);
    while let Some(message) = messages.message().await.unwrap() {
        rows += message
            .nodes
            .iter()
            .map(|it| it.endpoints.len())
            .sum::<usize>();
        totals = message.totals.or(totals);
    }
    eprintln!("{rows} rows after {:?}", since.elapsed());
    let totals = totals.unwrap();
    assert_eq!((rows, totals.endpoints), (MANY, MANY as u64));
    assert_eq!(totals.nodes, (MANY / EACH) as u64);
    assert_eq!(totals.by_state["never_attested"], MANY as u64);

    let since = Instant::now();
    let text = plane.cli("status").await;
    assert!(text.status.success(), "{text:?}");
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.lines().count() < 300, "{text}");
    eprintln!("text of {} bytes after {:?}", text.len(), since.elapsed());
}

/// A watch that writes into a pipe.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(plane: &Plane) -> Self {
        let mut command = plane.command("status --watch --interval 100ms");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a line with this.
    async fn says(&mut self, what: &str) {
        let said = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(what) {
                    return;
                }
            }
            panic!("it has ended and never said {what}");
        };
        timeout(BOUND, said).await.expect(what);
    }

    /// How it ends at a Ctrl-C.
    async fn interrupted(mut self) -> ExitStatus {
        let pid = self.child.id().unwrap().to_string();
        let kill = std::process::Command::new("kill")
            .args(["-s", "INT", &pid])
            .status();
        assert!(kill.unwrap().success());
        timeout(BOUND, self.child.wait())
            .await
            .expect("it ends")
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_the_control_plane() {
    let mut plane = Plane::start().await;
    plane.register(WEB, NODE_A).await;
    let mut watch = Watch::start(&plane);
    watch.says("never attested").await;
    plane.stop().await;
    watch.says("no answer for").await;
    watch.says("as it was at").await;
    plane.restart().await;
    watch.says("up for").await;
    let ended = watch.interrupted().await;
    assert!(ended.success(), "{ended}");
}
