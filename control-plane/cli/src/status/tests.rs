//! What people are shown, at the widths of a phone, a terminal and a wall.

use super::shape::{Consumer, Endpoint, Node, Refused, Rotation, Totals};
use super::*;
use crate::ca::laggards::Laggard;
use crate::replica::row::Row;
use crate::socket::Named;
use clap::FromArgMatches as _;
use countersign_proto::admin::Replica;

const DAY: i64 = 86_400;
/// When the scene is looked at.
const NOW: i64 = 1_790_000_000;

fn ago(secs: i64) -> Option<Timestamp> {
    Timestamp::from_second(NOW - secs).ok()
}

fn id(path: &str) -> String {
    format!("spiffe://example.org/{path}")
}

fn serial(index: u32) -> Option<String> {
    Some(format!("5c1a2b{index:010x}9f3e{index:04x}07aa{index:04x}"))
}

fn version(digit: char) -> Option<String> {
    Some(digit.to_string().repeat(32))
}

fn node(path: &str, state: &str, since: i64, endpoints: Vec<Endpoint>) -> Node {
    let connected = state == "connected";
    Node {
        id: id(path),
        state: state.to_owned(),
        since: (state != "never_attested").then(|| ago(since)).flatten(),
        needs_attention: !connected,
        reason: None,
        connected,
        attested_at: ago(9 * DAY),
        credential_not_after: ago(-2_700),
        bundle_version_acknowledged: version(if connected { 'b' } else { 'a' }),
        bundle_since: ago(600),
        replica: None,
        endpoints,
        consumers: Vec::new(),
        consumers_more: 0,
    }
}

/// Issued so long ago for an hour.
fn endpoint(path: &str, state: &str, issued: i64) -> Endpoint {
    let index = u32::try_from(issued).unwrap();
    Endpoint {
        entitlement: "reg-00112233445566778899aabbccddeeff".to_owned(),
        id: id(path),
        state: state.to_owned(),
        since: ago(issued),
        needs_attention: !["held", "not_asked_for"].contains(&state),
        owner: Some("team-pay".to_owned()),
        criticality: Some("critical".to_owned()),
        wanted: serial(index),
        acknowledged: serial(index),
        served: serial(index).filter(|_| state == "held"),
        issued_at: ago(issued),
        not_after: ago(issued - 3_600),
        renewal_due: ago(issued - 1_500),
        ..Endpoint::default()
    }
}

fn without_certificate(path: &str, state: &str) -> Endpoint {
    Endpoint {
        wanted: None,
        acknowledged: None,
        served: None,
        issued_at: None,
        not_after: None,
        renewal_due: None,
        ..endpoint(path, state, 240)
    }
}

fn consumer(name: &str, bundle: char, serials: &[u32]) -> Consumer {
    let validates = serials.is_empty();
    Consumer {
        id: name.to_owned(),
        kind: "envoy".to_owned(),
        resource: Some("ROOTCA".to_owned()).filter(|_| validates),
        validates,
        bundle_version: version(bundle).filter(|_| validates),
        bundle_since: ago(600),
        serials: serials.iter().filter_map(|n| serial(*n)).collect(),
        connected: true,
        since: ago(7_300),
    }
}

/// One that answers, one that is silent, one whose seal was cut short.
fn replicas() -> Vec<Row> {
    let wire = |secs: i64| {
        ago(secs).map(|at| prost_types::Timestamp {
            seconds: at.as_second(),
            nanos: 0,
        })
    };
    let row = |name: &str, standing: &str, since: i64| Replica {
        name: name.to_owned(),
        state: "joined".to_owned(),
        log_id: Some(0x5e_1f03),
        since: wire(9 * DAY),
        version: Some("0.1.0".to_owned()),
        sequence: Some(18_211),
        streams: Some(412),
        lag: Some(0),
        last_seen: wire(since),
        issuing_ca: "9c2ab4d1".to_owned() + &"0".repeat(32),
        issuing_ca_not_after: wire(-79_200),
        standing: standing.to_owned(),
        standing_since: wire(since),
        needs_attention: standing != "live",
        ..Replica::default()
    };
    let rows = [
        Replica {
            answers: true,
            certifies: Some(true),
            ends_by_time: true,
            ..row("a", "live", 2)
        },
        row("b", "live", 4),
        row("c", "silent", 180),
        row("d", "fenced", 600),
    ];
    rows.into_iter().map(Row::from).collect()
}

/// A night on which much is wrong.
fn scene() -> Shown {
    let refused = Refused {
        code: "policy_ttl".to_owned(),
        message: "rule pay allows certificates of 60 s to 600 s".to_owned(),
    };
    let mut a = node(
        "node/a",
        "connected",
        10_800,
        vec![
            endpoint("node/a", "held", 120),
            endpoint("pay/api", "held", 900),
            Endpoint {
                since: ago(20),
                ..endpoint("pay/db", "overdue", 1_520)
            },
            without_certificate("pay/batch", "not_asked_for"),
            Endpoint {
                refused: Some(refused),
                since: None,
                ..endpoint("pay/old", "refused", 600)
            },
        ],
    );
    a.consumers = vec![
        consumer("envoy:4711:81223:ROOTCA", 'a', &[]),
        consumer("envoy:4711:81223:default", 'a', &[900]),
    ];
    let away = |path: &str, issued| Endpoint {
        since: ago(180),
        ..endpoint(path, "away", issued)
    };
    let mut b = node(
        "node/b",
        "away",
        180,
        vec![away("node/b", 300), away("pay/api", 1_200)],
    );
    b.consumers_more = 3;
    let c = node(
        "node/c",
        "never_attested",
        0,
        vec![without_certificate("pay/db", "never_attested")],
    );
    let d = Node {
        replica: Some("b".to_owned()),
        bundle_version_acknowledged: None,
        ..node(
            "node/d",
            "connected",
            300,
            vec![endpoint("node/d", "held", 240)],
        )
    };
    Shown {
        at: ago(0),
        trust_domain: "example.org".to_owned(),
        version: "0.1.0".to_owned(),
        started_at: ago(3 * DAY),
        epoch: 1,
        sequence: 42,
        bundle_version: version('b'),
        registrations: 6,
        registrations_by_hand: 1,
        registrations_refused: 1,
        svids_issued: 1_234,
        cas_issued: 3,
        server_certificates_issued: 7,
        api_address: "10.0.0.1:8443".to_owned(),
        telemetry_address: "127.0.0.1:9464".to_owned(),
        rotation: Some(Rotation {
            key_id: "3f2a9c".to_owned() + &"0".repeat(34),
            not_before: ago(4_000),
            waiting_for: vec![
                Laggard {
                    consumer: format!("{} envoy:4711:81223:ROOTCA", id("node/a")),
                    connected: true,
                    replica: None,
                    until: None,
                },
                Laggard {
                    consumer: format!("{} proxy", id("node/b")),
                    connected: false,
                    replica: None,
                    until: ago(-2_400),
                },
            ],
            waiting_for_more: 0,
            waivers: Vec::new(),
        }),
        totals: Totals {
            nodes: 4,
            nodes_connected: 2,
            nodes_needing_attention: 2,
            endpoints: 9,
            endpoints_needing_attention: 5,
            by_state: [("held".to_owned(), 3)].into(),
            consumers: 2,
            consumers_behind: 1,
        },
        replicas: replicas(),
        nodes: vec![a, b, c, d],
        ..Shown::default()
    }
}

fn shown(scene: &Shown, width: usize, wide: bool) -> String {
    let look = Look {
        width: Some(width),
        wide,
        ..Look::default()
    };
    let called = Called::default();
    text(scene, Timestamp::UNIX_EPOCH, look, false, &called).to_string() + "\n"
}

/// Writes what is expected, where that is asked for: read the difference before it is kept.
fn bless(width: usize, shown: &str) {
    if std::env::var_os("COUNTERSIGN_BLESS").is_some() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/status/golden");
        std::fs::write(format!("{golden}/{width}.txt"), shown).unwrap();
    }
}

#[test]
fn status_reads_well_at_every_width() {
    for (width, expected) in [
        (60, include_str!("golden/60.txt")),
        (100, include_str!("golden/100.txt")),
        (200, include_str!("golden/200.txt")),
    ] {
        let shown = shown(&scene(), width, false);
        bless(width, &shown);
        assert!(shown == expected, "at {width} columns:\n{shown}");
        let is_command = |line: &str| line.starts_with("  $ ");
        let mut lines = shown.lines().filter(|line| !is_command(line));
        assert!(lines.all(|line| line.chars().count() <= width), "{shown}");
    }
}

/// What is pasted must reach the control plane that was asked.
#[test]
fn every_command_names_the_socket_that_was_given() {
    let mut scene = scene();
    let told = "run countersign ca rotate-root".to_owned();
    (scene.obstacles, scene.alarms) = (vec![told.clone()], vec![told]);
    let named = Named::new(Some("/srv/cp/admin.sock".into()));
    let called = Called::new(
        &named,
        ["ca", "token", "list", "replica"].map(str::to_owned).into(),
    );
    let now = Timestamp::UNIX_EPOCH;
    let text = text(&scene, now, Look::default(), false, &called).to_string();
    let ours = text.matches("countersign ").count();
    let complete = text
        .matches("countersign --admin-socket /srv/cp/admin.sock ")
        .count();
    assert!(ours >= 5 && complete == ours, "{text}");
}

#[test]
fn a_quiet_night_is_one_line() {
    let mut quiet = scene();
    quiet.rotation = None;
    quiet.replicas.truncate(2);
    quiet.nodes.truncate(1);
    quiet.nodes[0].endpoints.truncate(2);
    quiet.totals = Totals {
        nodes: 1,
        nodes_connected: 1,
        endpoints: 2,
        by_state: [("held".to_owned(), 2)].into(),
        ..Totals::default()
    };
    let text = shown(&quiet, 100, false);
    let first = text.lines().next().unwrap();
    assert_eq!(
        first,
        "all is well: 1 of 1 node connected, 2 of 2 identities held"
    );
}

/// What is shown is the same either way.
#[test]
fn check_ends_with_a_code_of_its_own_where_something_needs_attention() {
    let asked = |arguments: &[&str]| {
        let command = Status::augment_args(clap::Command::new("status"));
        let given = command.get_matches_from([&["status"], arguments].concat());
        Status::from_arg_matches(&given).unwrap()
    };
    let node = ["--check", "--node", "spiffe://example.org/node/no-such"];
    let mut well = scene();
    (well.rotation, well.replicas, well.nodes) = (None, Vec::new(), Vec::new());
    well.totals = Totals::default();
    let mut alarmed = Shown::default();
    alarmed.alarms.push("newer_state_seen: a".to_owned());
    for (arguments, shown, expected) in [
        (&["--check"][..], &well, Exit::Yes),
        (&["--check"], &scene(), Exit::Attention),
        (&["--check"], &alarmed, Exit::Attention),
        (&[], &alarmed, Exit::Yes),
        // A typing error is no good news.
        (&node, &well, Exit::Attention),
    ] {
        assert_eq!(asked(arguments).exit(shown), expected, "{arguments:?}");
    }
}

#[test]
fn wide_shows_serials_and_times_in_full() {
    let text = shown(&scene(), 100, true);
    assert!(text.contains(&serial(900).unwrap()), "{text}");
    assert!(text.contains("ENTITLEMENT") && text.contains("T"), "{text}");
    assert!(!text.contains('…'), "{text}");
}

#[test]
fn a_fleet_is_cut_to_what_needs_attention() {
    let mut fleet = scene();
    let held = (0..10_000).map(|n| {
        let endpoint = endpoint(&format!("web/{n}"), "held", 100);
        node(&format!("node/{n}"), "connected", 100, vec![endpoint])
    });
    fleet.nodes.splice(0..0, held);
    let text = shown(&fleet, 100, false);
    assert!(text.lines().count() < 600, "{}", text.lines().count());
    assert!(text.contains("9909 more rows: --all"), "{text}");
    for path in ["pay/db", "pay/old", "node/c"] {
        assert!(text.contains(&id(path)), "{path}: {text}");
    }
}

#[test]
fn nothing_that_a_node_says_reaches_the_terminal() {
    let mut hostile = scene();
    let evil = "\x1b[2Jall is well\u{202e}\n\r";
    let a = &mut hostile.nodes[0];
    a.reason = Some(evil.to_owned());
    a.state = evil.to_owned();
    a.needs_attention = true;
    a.bundle_version_acknowledged = Some(evil.to_owned());
    a.endpoints[0].state = evil.to_owned();
    a.endpoints[0].needs_attention = true;
    a.endpoints[0].served = Some(evil.to_owned());
    a.endpoints[0].owner = Some(evil.to_owned());
    a.consumers[0].id = evil.to_owned();
    a.consumers[0].serials = vec![evil.to_owned()];
    a.consumers[0].bundle_version = Some(evil.to_owned());
    let rotation = hostile.rotation.as_mut().unwrap();
    rotation.waiting_for[0].consumer = evil.to_owned();
    hostile.alarms = vec![evil.to_owned()];
    let text = shown(&hostile, 200, true);
    let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(is_bad), "{text:?}");
    // No line begins as the verdict does but the verdict.
    assert!(text.starts_with("needs attention"), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("all is well")));
}
