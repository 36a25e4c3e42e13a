//! No timer waits for a moment of the wall clock in one go.
//!
//! A timer stands still while the machine is suspended. So whoever turns a moment of the wall clock
//! into a time to wait does it with `countersign_model::nap`, which is short. Everything that waits
//! is in the table below, with what it waits for.

use super::source::{Source, parenthesised, production};

/// What waits.
const WAITS: &[&str] = &["sleep(", "sleep_until(", "interval(", "interval_at("];

/// Every wait, as it is written, and why no suspend makes it late.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "control-plane/cli/src/audit/tail.rs",
        "sleep(POLL)",
        "a period",
    ),
    (
        "control-plane/authority/src/record.rs",
        "sleep(AGAIN_AFTER * tries)",
        "a length of time: room for another control plane",
    ),
    (
        "control-plane/cli/src/status/watch.rs",
        "sleep_until(next)",
        "a period of the monotonic clock",
    ),
    (
        "control-plane/daemon/src/api/mesh/server_identity.rs",
        "sleep(timer)",
        "a nap, or RETRY",
    ),
    (
        "control-plane/daemon/src/api/mesh/stream.rs",
        "sleep(timer)",
        "a nap",
    ),
    (
        "control-plane/daemon/src/lifecycle.rs",
        "sleep(KEY_STORE_LOOK)",
        "a period",
    ),
    (
        "control-plane/daemon/src/lifecycle.rs",
        "sleep(TICK)",
        "a period of a second: the clock is read at each",
    ),
    (
        "control-plane/daemon/src/lifecycle.rs",
        "interval(TICK)",
        "a period of a second: the clock is read at each",
    ),
    (
        "control-plane/daemon/src/lifecycle.rs",
        "interval(PRUNE_EVERY)",
        "a period: nothing ends with it",
    ),
    (
        "control-plane/daemon/src/lifecycle.rs",
        "interval(SAVE_EVERY)",
        "a period: nothing ends with it",
    ),
    (
        "core/serve/src/accept.rs",
        "sleep(ACCEPT_BACKOFF)",
        "a length of time",
    ),
    (
        "core/serve/src/service_manager.rs",
        "interval(self.look_interval())",
        "a period: the manager counts in the same clock",
    ),
    (
        "core/serve/src/unix/kept.rs",
        "interval(SOCKET_LOOK_INTERVAL)",
        "a period: the file is looked at",
    ),
    (
        "control-plane/store/src/writer/settling.rs",
        "sleep(SETTLE_AGAIN)",
        "a length of time",
    ),
    (
        "control-plane/store/src/writer/others.rs",
        "sleep_until(at)",
        "a length of time from a read that failed",
    ),
    (
        "control-plane/store/src/following.rs",
        "sleep(CONNECT_AGAIN)",
        "a length of time",
    ),
    (
        "core/serve/src/deadline.rs",
        "sleep_until(deadline)",
        "a length of time from a call's arrival",
    ),
    (
        "core/serve/src/greeting.rs",
        "sleep(limit)",
        "a length of time from an accept",
    ),
    (
        "core/serve/src/messages/body.rs",
        "sleep_until(due)",
        "a length of time from a body's first byte",
    ),
    (
        "core/serve/src/tls/connection.rs",
        "sleep(limits.stranger_lifetime)",
        "a length of time from a handshake",
    ),
    (
        "core/telemetry/src/peer_lines.rs",
        "sleep(SUMMARY_INTERVAL)",
        "a length of time",
    ),
    (
        "sidecar/src/control/race.rs",
        "sleep(head_start)",
        "a length of time",
    ),
    ("sidecar/src/control/session.rs", "sleep(nap)", "a nap"),
    (
        "sidecar/src/control/session/moving.rs",
        "sleep(wait)",
        "a length of time, by which wishes are spread",
    ),
    (
        "control-plane/cli/src/replica/seal.rs",
        "sleep(LOOK_EVERY)",
        "a period",
    ),
    (
        "sidecar/src/consumers/kept.rs",
        "sleep(TRY_AGAIN)",
        "a length of time after a write that failed",
    ),
    (
        "sidecar/src/consumers/kept.rs",
        "sleep(WRITE_EVERY)",
        "a length of time after a write",
    ),
    (
        "sidecar/src/holdings/endings.rs",
        "sleep(LOOK_EVERY)",
        "a period: the clock is read at each",
    ),
    (
        "sidecar/src/control/session.rs",
        "sleep_until(moment)",
        "a length of time from a report or a refusal",
    ),
    (
        "sidecar/src/control/session.rs",
        "sleep_until(self.failures_at)",
        "a period from the last report",
    ),
    ("sidecar/src/control.rs", "sleep_until(again)", "a backoff"),
    ("sidecar/src/control.rs", "sleep_until(end)", "a backoff"),
    (
        "sidecar/src/proxy/callers.rs",
        "sleep(pause)",
        "a length of time",
    ),
];

fn waits(source: &Source) -> Vec<(String, String)> {
    let found = WAITS
        .iter()
        .flat_map(|name| source.text.match_indices(name));
    let is_call = |at: usize| {
        let before = &source.text[..at];
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '_') && !before.ends_with("fn ")
    };
    let called = found.filter(|(at, _)| is_call(*at));
    let wait = |(at, name): (usize, &str)| {
        let arguments = parenthesised(&source.text[at + name.len() - 1..]);
        (source.path.clone(), format!("{name}{arguments})"))
    };
    called.map(wait).collect()
}

fn is_known((path, wait): &(String, String)) -> bool {
    let mut known = KNOWN.iter();
    known.any(|(of, as_written, _)| of == path && as_written == wait)
}

#[test]
fn no_timer_waits_for_the_wall_clock_in_one_go() {
    let waits: Vec<_> = production().iter().flat_map(waits).collect();
    let unknown: Vec<_> = waits.iter().filter(|wait| !is_known(wait)).collect();
    assert!(
        unknown.is_empty(),
        "does it wait for a moment of the wall clock? Then make it nap with countersign_model::nap; \
         list it in {} with what it waits for: {unknown:#?}",
        file!()
    );
    for (path, wait, _) in KNOWN {
        let is_there = |(of, written): &(String, String)| of == path && written == wait;
        assert!(waits.iter().any(is_there), "{path} has no {wait}");
    }
}

#[test]
fn a_planted_timer_is_found() {
    let text = "async fn sleepy() {\n    tokio::time::sleep(until(not_after)).await;\n}\n";
    let waits = waits(&Source::new("sidecar/src/planted.rs", text));
    let [wait] = &waits[..] else {
        panic!("{waits:?}");
    };
    assert_eq!(wait.1, "sleep(until(not_after))");
    assert!(!is_known(wait));
}

/// Where the monotonic clock of the machine is read, and why not that of the runtime, which a
/// simulation can own.
const MONOTONIC: &[(&str, &str)] = &[
    (
        "control-plane/keys/src/calls.rs",
        "a thread that waits for a device",
    ),
    (
        "control-plane/keys/src/pkcs11/link.rs",
        "a thread that waits for a session of the token",
    ),
];

/// Whether a file reads the clock of the machine: it names the type of the standard library and asks
/// it.
fn reads_monotonic(text: &str) -> bool {
    let names = |it: &str| it.starts_with("use std::time::") && it.contains("Instant");
    let by_name = text.lines().map(str::trim_start).any(names);
    text.contains("std::time::Instant::now()") || (by_name && text.contains("Instant::now()"))
}

#[test]
fn monotonic_clock_is_that_of_the_runtime() {
    let sources = production();
    let reading = sources.iter().filter(|it| reads_monotonic(&it.text));
    let mut reading: Vec<_> = reading.map(|it| it.path.as_str()).collect();
    reading.sort_unstable();
    let known: Vec<_> = MONOTONIC.iter().map(|(path, _)| *path).collect();
    assert_eq!(reading, known, "pass `now` in, or ask tokio::time::Instant");
}

#[test]
fn clock_of_the_machine_is_found() {
    for (text, reads) in [
        (
            "use std::time::{Duration, Instant};\nlet t = Instant::now();",
            true,
        ),
        ("let t = std::time::Instant::now();", true),
        ("use tokio::time::Instant;\nlet t = Instant::now();", false),
        ("use std::time::Instant;\nfn at(now: Instant) {}", false),
    ] {
        assert_eq!(reads_monotonic(text), reads, "{text}");
    }
}
