//! Every line at info or above that a peer can cause goes through the limit by principal.
//!
//! A line that does not is in one of the tables below, with who causes it.

use super::source::{Source, parenthesised, production};

/// Files none of whose lines a peer causes, by who does.
const FILES: &[(&str, &[&str])] = &[
    (
        "an operator, by one command",
        &[
            "control-plane/src/admin/backup.rs",
            "control-plane/src/admin/sign.rs",
            "control-plane/src/authority/by_hand.rs",
            "control-plane/src/authority/evicting.rs",
            "control-plane/src/authority/importing.rs",
            "control-plane/src/authority/registrations.rs",
            "control-plane/src/authority/removal.rs",
            "control-plane/src/authority/tokens.rs",
            "control-plane/src/authority/waiving.rs",
        ],
    ),
    (
        "the start or the end of the process",
        &[
            "control-plane/src/app.rs",
            "control-plane/src/authority/opening.rs",
            "control-plane/src/authority/refused_keys.rs",
            "control-plane/src/authority/restoring.rs",
            "control-plane/src/authority/scratch.rs",
            "control-plane/src/authority/snapshot.rs",
            "control-plane/src/bin/countersign-control-plane.rs",
            "control-plane/src/store/data_dir.rs",
            "control-plane/tlog/src/journal/replay.rs",
            "core/serve/src/shutdown.rs",
            "core/telemetry/src/lib.rs",
            "sidecar/src/app.rs",
            "sidecar/src/lifecycle.rs",
            "sidecar/src/proxy.rs",
        ],
    ),
    (
        "a timer, or a key store",
        &[
            "control-plane/src/authority/clock_check.rs",
            "control-plane/src/authority/disk.rs",
            "control-plane/src/authority/hierarchy.rs",
            "control-plane/src/authority/log_keeping.rs",
            "control-plane/src/authority/rotation.rs",
            "control-plane/src/authority/unmaking.rs",
            "control-plane/src/authority/upkeep.rs",
            "control-plane/src/ca/keys/patient.rs",
            "control-plane/src/ca/keys/pkcs11/link.rs",
            "control-plane/src/discovery/server_identity.rs",
            "control-plane/src/lifecycle.rs",
            "sidecar/src/install/saving.rs",
        ],
    ),
    (
        "the control plane, and it alone",
        &[
            "sidecar/src/control.rs",
            "sidecar/src/control/intake.rs",
            "sidecar/src/control/recognition.rs",
            "sidecar/src/control/session/enrolling.rs",
            "sidecar/src/control/session/receiving.rs",
            "sidecar/src/install/saving.rs",
            "sidecar/src/state/attempt.rs",
        ],
    ),
];

/// Single lines in files that serve peers, and why there is no flood of them.
const LINES: &[(&str, &str, &str)] = &[
    (
        "control-plane/src/store/writer.rs",
        "the store stops: the disk cannot be trusted",
        "once: the writer ends",
    ),
    (
        "core/serve/src/accept.rs",
        "accept failed, waiting",
        "once in ACCEPT_WARNING_INTERVAL, over all listeners",
    ),
    (
        "core/serve/src/tls/incoming.rs",
        "listener is full",
        "once in WARNING_INTERVAL, a listener",
    ),
    (
        "core/serve/src/unix.rs",
        "connection refused: its user has too many open, or too few are left",
        "once in WARNING_INTERVAL, a listener",
    ),
    (
        "core/telemetry/src/peer_lines.rs",
        "lines about peers were left out",
        "once in SUMMARY_INTERVAL",
    ),
    (
        "core/telemetry/src/peer_lines.rs",
        "",
        "the macro itself: what is admitted",
    ),
    (
        "core/telemetry/src/queue.rs",
        "log lines were dropped: their reader stood still",
        "once for all that was dropped, after something was written",
    ),
    (
        "sidecar/src/proxy/identity.rs",
        "an installed key does not load",
        "the control plane: once a certificate",
    ),
    (
        "sidecar/src/proxy/identity.rs",
        "a right to an identity ended, its connections are closed",
        "the control plane: once a removal",
    ),
    (
        "sidecar/src/proxy/identity.rs",
        "first handshake with a new certificate",
        "once a certificate",
    ),
];

/// A line that is not limited.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    place: String,
    path: String,
    message: String,
}

fn unlimited(source: &Source) -> Vec<Line> {
    let macros = ["info!(", "warn!(", "error!(", "event!("];
    let found = macros
        .into_iter()
        .flat_map(|name| source.text.match_indices(name));
    let is_whole =
        |at: usize| !source.text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let found = found.filter(|(at, _)| is_whole(*at));
    let mut lines: Vec<_> = found.map(|(at, name)| (at, at + name.len() - 1)).collect();
    lines.sort_unstable();
    let line = |(at, opens): (usize, usize)| Line {
        place: format!("{}:{}", source.path, source.line(at)),
        path: source.path.clone(),
        message: last_literal(parenthesised(&source.text[opens..])),
    };
    lines.into_iter().map(line).collect()
}

/// The message of an event is its last string.
fn last_literal(arguments: &str) -> String {
    let strings = arguments.split('"').skip(1).step_by(2);
    strings.last().unwrap_or_default().to_owned()
}

fn is_listed(line: &Line) -> bool {
    let mut files = FILES.iter().flat_map(|(_, files)| *files);
    let mut lines = LINES.iter();
    files.any(|path| *path == line.path)
        || lines.any(|(path, message, _)| *path == line.path && *message == line.message)
}

#[test]
fn no_peer_causes_an_unlimited_line() {
    let lines: Vec<_> = production().iter().flat_map(unlimited).collect();
    assert!(lines.len() > 40, "the scan found {} lines", lines.len());
    let unknown: Vec<_> = lines.iter().filter(|line| !is_listed(line)).collect();
    assert!(
        unknown.is_empty(),
        "can a peer cause these lines? Then write them with peer_line!; otherwise list them in {} \
         with who causes them: {unknown:#?}",
        file!()
    );
    for path in FILES.iter().flat_map(|(_, files)| *files) {
        let is_there = |line: &Line| line.path == *path;
        assert!(lines.iter().any(is_there), "{path} has no such line");
    }
    for (path, message, _) in LINES {
        let is_there = |line: &Line| line.path == *path && line.message == *message;
        assert!(lines.iter().any(is_there), "{path} has no line {message:?}");
    }
}

#[test]
fn a_planted_line_is_found() {
    let planted = r#"
        // tracing::warn!("in a comment");
        fn refuse(peer: u32) {
            peer_line!(WARN, Principal::uid(peer), "limited");
            tracing::warn!(uid = peer, list = names.join(", "), "refused (again)");
        }
        #[cfg(test)]
        mod tests {
            fn f() { tracing::error!("in a test"); }
        }
    "#
    .replace("\n        ", "\n");
    let source = Source::new("sidecar/src/planted.rs", &planted);
    let lines = unlimited(&source);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].place, "sidecar/src/planted.rs:5");
    assert_eq!(lines[0].message, "refused (again)");
    assert!(!is_listed(&lines[0]));
}
