//! Every line at info or above that a peer can cause goes through the limit by principal.
//!
//! A line that does not is in one of the tables below, with who causes it.

use super::source::{Source, parenthesised, production};

/// The messages of one file.
type InFile = (&'static str, &'static [&'static str]);

/// Lines that no peer causes, by who does, by file.
const BY_CAUSE: &[(&str, &[InFile])] = &[
    (
        "an operator, by one command",
        &[
            (
                "control-plane/daemon/src/api/admin/backup.rs",
                &["backup made", "backup failed"],
            ),
            (
                "control-plane/daemon/src/api/admin/sign.rs",
                &["signing refused"],
            ),
            (
                "control-plane/authority/src/issuing/manual.rs",
                &["certificate signed by hand"],
            ),
            (
                "control-plane/authority/src/evicting.rs",
                &["node evicted", "node unbanned"],
            ),
            (
                "control-plane/authority/src/importing.rs",
                &[
                    "intermediate imported",
                    "key of the request is gone; the next request has another",
                    "intermediate requested",
                ],
            ),
            (
                "control-plane/authority/src/registrations.rs",
                &["registered"],
            ),
            (
                "control-plane/authority/src/removal.rs",
                &["registration removed"],
            ),
            (
                "control-plane/authority/src/levels.rs",
                &["level of the database raised"],
            ),
            (
                "control-plane/authority/src/moving_keys.rs",
                &[
                    "key of a CA given out",
                    "key of a CA given away",
                    "key of a CA taken over",
                ],
            ),
            (
                "control-plane/authority/src/replicas.rs",
                &["control plane invited"],
            ),
            (
                "control-plane/authority/src/replicas/sealing.rs",
                &[
                    "invitation of a control plane withdrawn",
                    "control plane fenced out",
                    "log of a control plane sealed",
                ],
            ),
            (
                "control-plane/authority/src/tokens.rs",
                &["join token made"],
            ),
            (
                "control-plane/authority/src/waiving.rs",
                &["consumer waived", "consumer no longer waived"],
            ),
        ],
    ),
    (
        "the start or the end of the process",
        &[
            (
                "control-plane/daemon/src/app.rs",
                &[
                    "tasks cut at the end of the drain",
                    "state not flushed",
                    "server ended",
                    "listening",
                ],
            ),
            (
                "control-plane/authority/src/opening.rs",
                &["key of the issuing CA is gone; another is made"],
            ),
            (
                "control-plane/authority/src/adopting.rs",
                &["issuing CAs have the name of this replica now"],
            ),
            (
                "control-plane/authority/src/doubts.rs",
                &["alarm: nodes say that they have seen a newer state"],
            ),
            (
                "control-plane/authority/src/refused_keys.rs",
                &["blocked keys read"],
            ),
            (
                "control-plane/authority/src/restoring.rs",
                &[
                    "a certificate was lost and cannot be signed again",
                    "a certificate is not published again",
                    "a logged registration does not read",
                ],
            ),
            (
                "control-plane/authority/src/scratch.rs",
                &["what may be left of a backup was not removed"],
            ),
            (
                "control-plane/authority/src/snapshot.rs",
                &[
                    "inventory found",
                    "the inventory does not read: it is read from the log again",
                    "the inventory is not of this log: it is read from the log again",
                    "the inventory is of another database: it is read from the logs again",
                ],
            ),
            ("control-plane/daemon/src/main.rs", &["stopping"]),
            (
                "control-plane/tlog/src/appender.rs",
                &["the next start takes entries of the issuance log from its archive"],
            ),
            (
                "control-plane/tlog/src/archive.rs",
                &["entries that the issuance log lacked were taken from its archive"],
            ),
            (
                "control-plane/tlog/src/journal/replay.rs",
                &["an unfinished write at the end of the issuance log was cut off"],
            ),
            (
                "core/serve/src/descriptors.rs",
                &["few connections: the limit of open files is low"],
            ),
            (
                "core/serve/src/ownership/directory.rs",
                &["the directory was open to others; closing it"],
            ),
            (
                "core/serve/src/service_manager.rs",
                &[
                    "service manager cannot be told",
                    "service manager does not take notices",
                ],
            ),
            ("core/serve/src/shutdown.rs", &["signal ignored"]),
            (
                "core/telemetry/src/lib.rs",
                &["the last traces were not sent"],
            ),
            ("sidecar/src/app.rs", &["listening", "ending"]),
            (
                "sidecar/src/consumers/kept.rs",
                &[
                    "consumers of the process before not known",
                    "consumers not kept for a restart",
                ],
            ),
            (
                "sidecar/src/lifecycle.rs",
                &["draining", "drain deadline passed"],
            ),
            (
                "sidecar/src/proxy.rs",
                &["listening", "accepting", "everybody will be refused"],
            ),
        ],
    ),
    (
        "a timer, or a key store",
        &[
            (
                "control-plane/authority/src/clock_check.rs",
                &[
                    "alarm: a CA is not valid yet by this clock",
                    "every CA that signs is valid by this clock again",
                ],
            ),
            (
                "control-plane/authority/src/disk.rs",
                &["there is room for the issuance log again"],
            ),
            (
                "control-plane/authority/src/hierarchy.rs",
                &["intermediate rotated", "nothing can be signed yet"],
            ),
            (
                "control-plane/authority/src/log_keeping.rs",
                &["bodies of old log entries removed"],
            ),
            (
                "control-plane/authority/src/rotation.rs",
                &[
                    "issuing CA rotated",
                    "root prepared",
                    "root activated",
                    "root and issuing CA made",
                ],
            ),
            (
                "control-plane/authority/src/answering.rs",
                &["issuing CA of another replica certified"],
            ),
            (
                "control-plane/authority/src/asking.rs",
                &[
                    "issuing CA asked for",
                    "key of the issuing CA that was asked for is gone; another is made",
                ],
            ),
            (
                "control-plane/authority/src/taking_cas.rs",
                &["issuing CA certified by another replica"],
            ),
            (
                "control-plane/authority/src/rollback.rs",
                &[
                    "whether the CAs have changed is known after the next start",
                    "a key that may not sign was not destroyed",
                    "a key that may not sign was destroyed at last",
                ],
            ),
            (
                "control-plane/authority/src/maintenance.rs",
                &[
                    "no checkpoint of the issuance log at start; tried again by itself",
                    "what is due waits for the disk",
                    "intermediate ends soon; import its successor",
                    "retired CAs dropped",
                ],
            ),
            (
                "control-plane/keys/src/deadline.rs",
                &[
                    "key made too late was not destroyed",
                    "key store changed its state",
                    "key store answers again",
                ],
            ),
            (
                "control-plane/keys/src/pkcs11/link.rs",
                &["key store changed its state"],
            ),
            (
                "control-plane/daemon/src/api/mesh/server_identity.rs",
                &["nobody is served yet", "own identity not renewed"],
            ),
            (
                "core/serve/src/unix/kept.rs",
                &[
                    "the socket file was gone: bound anew",
                    "the socket file is gone and cannot be bound anew",
                ],
            ),
            (
                "control-plane/daemon/src/lifecycle.rs",
                &[
                    "authorities not renewed",
                    "key stores not looked at",
                    "issuance log not kept",
                    "root not activated",
                    "acknowledgements not told to the other control planes",
                ],
            ),
        ],
    ),
    (
        "the control plane, and it alone",
        &[
            (
                "sidecar/src/control.rs",
                &[
                    "control plane not connected",
                    "node attested",
                    "clocks disagree",
                    "clocks agree again",
                ],
            ),
            (
                "sidecar/src/control/failover.rs",
                &[
                    "control plane connected",
                    "control plane silent, another is taken",
                ],
            ),
            (
                "sidecar/src/control/recognition.rs",
                &["the stored bundle does not verify the control plane, control_plane.bundle does"],
            ),
            (
                "sidecar/src/control/session/enrolling.rs",
                &[
                    "enrolment failed",
                    "expired entitlement dropped, the control plane knows none",
                ],
            ),
            (
                "sidecar/src/control/session/moving.rs",
                &["not gone to another control plane"],
            ),
            (
                "sidecar/src/install/known_addresses.rs",
                &[
                    "addresses of control planes kept",
                    "addresses of control planes not kept",
                    "addresses of control planes not known any more",
                ],
            ),
            (
                "sidecar/src/control/session/receiving.rs",
                &["discovery response refused", "not installed"],
            ),
            (
                "sidecar/src/install/bundle.rs",
                &[
                    "bundle installed",
                    "certificates are of no root of the bundle: renewed at once",
                ],
            ),
            ("sidecar/src/install/chain.rs", &["certificate installed"]),
            (
                "sidecar/src/install/entitlements.rs",
                &["entitlement removed"],
            ),
            (
                "sidecar/src/install/saving.rs",
                &[
                    "held in memory alone, until state_dir takes it",
                    "state_dir has taken what was held in memory alone",
                ],
            ),
            (
                "sidecar/src/state/attempt.rs",
                &[
                    "a damaged attestation key is replaced by a fresh one",
                    "the attestation key was not removed",
                ],
            ),
        ],
    ),
];

/// Lines that peers can cause, and why there is no flood of them all the same.
const LINES: &[(&str, &str, &str)] = &[
    (
        "control-plane/authority/src/doubts.rs",
        "alarm: the state is older than what it has issued",
        "once, and at a start: the first is kept",
    ),
    (
        "control-plane/tlog/src/appender.rs",
        "entries of the issuance log are in its archive alone",
        "a disk that refuses: once until it takes them",
    ),
    (
        "control-plane/store/src/writer.rs",
        "the store stops: what it holds is not known",
        "once: the writer ends",
    ),
    (
        "control-plane/store/src/writer.rs",
        "the store stops: a commit cannot be handed over",
        "once: the writer ends",
    ),
    (
        "core/serve/src/accept.rs",
        "accept failed, waiting",
        "once in WARNING_INTERVAL, over all listeners",
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

/// Every line of the tables above: path and message.
fn listed() -> Vec<(&'static str, &'static str)> {
    let files = BY_CAUSE.iter().flat_map(|(_, files)| *files);
    let of_file = |(path, messages): &(&'static str, &'static [&'static str])| {
        let path = *path;
        messages.iter().map(move |message| (path, *message))
    };
    let single = LINES.iter().map(|(path, message, _)| (*path, *message));
    files.flat_map(of_file).chain(single).collect()
}

fn is_listed(line: &Line) -> bool {
    listed().contains(&(line.path.as_str(), line.message.as_str()))
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
    for (path, message) in listed() {
        let is_there = |line: &Line| line.path == path && line.message == message;
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
