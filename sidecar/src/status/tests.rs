use std::sync::Arc;
use std::time::Duration;

use countersign_cli::table::Look;
use countersign_serve::unix::{SocketModes, UserPlaces, bind_unix};
use countersign_serve::{Counters, Limits};

use super::*;
use crate::pki::{Authority, id, now, right, serial};
use crate::state::STATUS_SOCKET;

fn report() -> Report {
    report_with(0)
}

/// A socket that a stranger and a user were turned away from, and one that nobody has used.
fn counted() -> [Counted; 2] {
    let full = Arc::<Counters>::default();
    let limits = Limits {
        max_connections: 4,
        max_strangers: 2,
        ..Limits::default()
    };
    let _ = UserPlaces::new(&limits, &full);
    full.refused.increment();
    [
        ("workload_api".into(), full),
        ("outbound[12]".into(), Arc::default()),
    ]
}

/// What is told where so many are enrolled before anybody asks.
fn report_with(enrol_ahead: usize) -> Report {
    let authority = Authority::new("root");
    let (held, waiting, failed) = (
        right('1', "/held", 1),
        right('2', "/waiting", 1),
        right('3', "/failed", 1),
    );
    let entry = |entitlement: countersign_model::Entitlement, svid, problem: Option<&str>| {
        let held = Held {
            entitlement: Arc::new(entitlement.clone()),
            svid,
            problem: problem.map(Into::into),
        };
        (entitlement.id, held)
    };
    let svid = authority.svid(&id("/held"), serial(1));
    let snapshot = Snapshot {
        bundle: Some(authority.bundle()),
        entries: Arc::new(
            [
                entry(held, Some(svid), None),
                entry(waiting, None, None),
                entry(failed, None, Some("enrolment refused")),
            ]
            .into(),
        ),
        ..Snapshot::default()
    };
    let sources = Sources {
        address: "https://127.0.0.1:8443".to_owned(),
        link: LinkState::starting(now()),
        snapshot: &snapshot,
        demanded: &BTreeSet::new(),
        enrol_ahead,
        listeners: &[],
        others: &[("telemetry", "127.0.0.1:9".to_owned())],
        counted: &counted(),
        not_ready: vec!["a reason".to_owned()],
        degraded: vec!["a flaw".to_owned()],
    };
    Report::at(sources, now())
}

#[test]
fn every_name_says_why_not() {
    let report = report();
    let problems: Vec<_> = report
        .identities
        .items
        .iter()
        .map(|i| i.problem.as_deref())
        .collect();
    assert_eq!(
        problems,
        [None, Some(NOT_DEMANDED), Some("enrolment refused")]
    );
    let held = &report.identities.items[0];
    assert_eq!(held.serial, Some(serial(1)));
    assert!(held.renew_at > held.issued_at && held.renew_at < held.not_after);
}

#[test]
fn a_right_within_the_cap_is_not_beyond_it() {
    let problem = |enrol_ahead| {
        let mut items = report_with(enrol_ahead).identities.items;
        items.swap_remove(1).problem
    };
    assert_eq!(problem(1).as_deref(), Some(NOT_DEMANDED));
    assert_eq!(problem(2).as_deref(), Some(JUST_ENTITLED));
}

/// As it is shown in so many columns; nothing is folded without.
fn shown(report: &Report, width: Option<usize>) -> String {
    let look = Look {
        width,
        ..Look::default()
    };
    render(report, look, false).to_string() + "\n"
}

#[test]
fn report_reads_well_at_every_width() {
    let mut report = report();
    report.at += Duration::from_secs(200);
    report.bundle.as_mut().unwrap().version = "b".repeat(32);
    report.listeners.items.insert(
        0,
        Listener {
            name: "outbound[12]".to_owned(),
            address: "127.0.0.1:15001".to_owned(),
            identity: Some(id("/waiting")),
            problem: Some(RIGHT_WITHOUT_CHAIN.to_owned()),
        },
    );
    for (width, expected) in [
        (60, include_str!("golden/60.txt")),
        (100, include_str!("golden/100.txt")),
    ] {
        let shown = shown(&report, Some(width));
        assert!(shown == expected, "at {width} columns:\n{shown}");
        let mut lines = shown.lines();
        assert!(lines.all(|line| line.chars().count() <= width), "{shown}");
    }
    let look = Look {
        wide: true,
        ..Look::default()
    };
    let wide = render(&report, look, false).to_string();
    for part in [
        serial(1).to_string(),
        to_the_second(now()),
        report.bundle.unwrap().version,
    ] {
        assert!(wide.contains(&part), "{part} in {wide}");
    }
}

#[test]
fn late_renewal_reads_as_overdue() {
    let mut report = report();
    let held = &mut report.identities.items[0];
    held.renew_at = Some(report.at - Duration::from_secs(20));
    held.not_after = Some(report.at - Duration::from_secs(150));
    let text = shown(&report, None);
    assert!(text.contains("2 min ago  20 s overdue"), "{text}");
}

#[test]
fn many_rows_are_cut_to_those_with_a_problem() {
    let mut report = report();
    let held = report.identities.items.remove(0);
    let many = (0..1_000).map(|n| Identity {
        spiffe_id: id(&format!("/a/{n}")),
        ..held.clone()
    });
    report.identities.items.extend(many);
    let text = shown(&report, Some(100));
    assert!(text.contains("902 more rows: --all"), "{text}");
    assert!(text.contains("enrolment refused"), "{text}");
    let all = render(&report, Look::default(), true).to_string();
    assert!(
        all.contains("/a/999") && !all.contains("more rows"),
        "{all}"
    );
}

#[test]
fn nothing_of_a_report_steers_the_terminal() {
    let mut report = report();
    let evil = "\x1b[2J\u{202e}\r\n";
    report.control_plane.address = evil.to_owned();
    report.control_plane.problem = Some(evil.to_owned());
    report.not_ready = vec![evil.to_owned()];
    report.bundle.as_mut().unwrap().problem = Some(evil.to_owned());
    report.identities.items[0].problem = Some(evil.to_owned());
    report.listeners.items[0].name = evil.to_owned();
    report.places.items[0].listener = evil.to_owned();
    let text = shown(&report, Some(100));
    let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(is_bad), "{text:?}");
}

#[test]
fn address_that_was_left_is_told() {
    let mut told = report();
    let link = &mut told.control_plane;
    link.connected = true;
    link.left = Some(LeftAddress {
        address: "https://cp-a:8443".to_owned(),
        problem: "the control plane did not answer a keepalive in time".to_owned(),
        at: link.since,
    });
    let line = ": https://cp-a:8443: the control plane did not answer a keepalive in time";
    assert!(shown(&told, None).contains(line), "{}", shown(&told, None));
    let json = serde_json::to_value(&told).unwrap();
    assert_eq!(
        json["control_plane"]["left"]["address"],
        "https://cp-a:8443"
    );
    // It is the one that is in use again.
    told.control_plane.address = "https://cp-a:8443".to_owned();
    assert!(!shown(&told, None).contains(line));
}

#[test]
fn places_of_listeners_are_told() {
    let report = report();
    let places = &report.places.items[0];
    assert_eq!((places.connections, places.bound), (0, 4));
    assert_eq!((places.strangers, places.strangers_bound), (0, 2));
    assert_eq!(places.turned_away, 1);
}

#[test]
fn report_of_an_older_sidecar_is_read() {
    let mut older = serde_json::to_value(report()).unwrap();
    older.as_object_mut().unwrap().remove("places");
    let report: Report = serde_json::from_value(older).unwrap();
    let text = shown(&report, None);
    assert!(
        report.places.items.is_empty() && !text.contains("TURNED AWAY"),
        "{text}"
    );
}

#[tokio::test]
async fn a_running_sidecar_answers_on_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let modes = SocketModes {
        socket: 0o600,
        directory: 0o700,
    };
    let listener = bind_unix(&folder.path().join(STATUS_SOCKET), modes, "state_dir").unwrap();
    let told = report();
    let saying = told.clone();
    let counters = Arc::<Counters>::default();
    let bounds = (listener, MAX_CONNECTIONS, counters.clone());
    let server = tokio::spawn(serve(bounds, move || saying.clone()));
    assert_eq!(fetch(folder.path()).await.unwrap(), told);
    assert_eq!(counters.usage().connections.bound, MAX_CONNECTIONS);
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn why_no_sidecar_answers_is_told_apart() {
    use countersign_cli::Exit;

    let told = async |folder: &std::path::Path| {
        let failure = fetch(folder).await.unwrap_err();
        (failure.exit, failure.code, failure.remedy)
    };
    let folder = tempfile::tempdir().unwrap();
    let (exit, code, _) = told(folder.path()).await;
    assert_eq!((exit, &*code), (Exit::Unreachable, "not_running"));

    let socket = folder.path().join(STATUS_SOCKET);
    std::fs::write(&socket, "").unwrap();
    let (exit, code, _) = told(folder.path()).await;
    assert_eq!((exit, &*code), (Exit::Usage, "status_socket_is_none"));

    // One that stands still: whoever connects waits.
    std::fs::remove_file(&socket).unwrap();
    let _stopped = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let (exit, code, remedy) = told(folder.path()).await;
    assert_eq!((exit, &*code), (Exit::Unreachable, "no_answer"));
    assert!(remedy.starts_with("it runs"), "{remedy}");
}
