use std::sync::Arc;

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

#[test]
fn the_table_names_everything() {
    let text = render(&report());
    for part in [
        "spiffe://example.org/held",
        NOT_DEMANDED,
        "a reason",
        "a flaw",
        "127.0.0.1:9",
        "not connected",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn places_of_listeners_are_told() {
    let report = report();
    let places = &report.places.items[0];
    assert_eq!((places.connections, places.bound), (0, 4));
    assert_eq!((places.strangers, places.strangers_bound), (0, 2));
    assert_eq!(places.turned_away, 1);
    let text = render(&report);
    let lines: Vec<_> = text.lines().collect();
    let header = lines.iter().position(|line| line.contains("TURNED AWAY"));
    let table = &lines[header.unwrap()..];
    assert!(
        table[1].contains("workload_api") && table[1].contains("0 of 2"),
        "{text}"
    );
    assert!(
        table[2].contains("outbound[12]") && table[2].contains(" - "),
        "{text}"
    );
    assert!(
        table.iter().all(|line| line.trim_end().len() <= 100),
        "{text}"
    );
}

#[test]
fn report_of_an_older_sidecar_is_read() {
    let mut older = serde_json::to_value(report()).unwrap();
    older.as_object_mut().unwrap().remove("places");
    let report: Report = serde_json::from_value(older).unwrap();
    assert!(report.places.items.is_empty() && !render(&report).contains("TURNED AWAY"));
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

#[tokio::test]
async fn a_sidecar_that_does_not_run_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let failure = fetch(folder.path()).await.unwrap_err();
    assert_eq!(failure.exit, countersign_cli::Exit::Unreachable);
}
