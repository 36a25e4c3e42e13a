use std::sync::Arc;

use countersign_serve::unix::{SocketModes, bind_unix};

use super::*;
use crate::pki::{Authority, id, now, right, serial};

fn report() -> Report {
    report_with(0)
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

#[tokio::test]
async fn a_running_sidecar_answers_on_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let modes = SocketModes {
        socket: 0o600,
        directory: 0o700,
    };
    let listener = bind_unix(&folder.path().join(SOCKET), modes, "state_dir").unwrap();
    let told = report();
    let saying = told.clone();
    let server = tokio::spawn(serve((listener, MAX_CONNECTIONS), move || saying.clone()));
    assert_eq!(fetch(folder.path()).await.unwrap(), told);
    server.abort();
}

#[tokio::test]
async fn a_sidecar_that_does_not_run_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let failure = fetch(folder.path()).await.unwrap_err();
    assert_eq!(failure.exit, countersign_cli::Exit::Unreachable);
}
