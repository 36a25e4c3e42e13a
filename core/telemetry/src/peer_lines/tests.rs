use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// Whoever reads the counts of left out lines reads those of the whole process.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a daemon writes meanwhile, at info.
fn written(act: impl FnOnce()) -> Vec<String> {
    written_at("info", act)
}

/// What a daemon with this filter writes meanwhile.
fn written_at(filter: &str, act: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let filter = crate::libraries::filter(filter).unwrap();
    let subscriber = crate::subscriber(filter, true, None, move || writer.clone());
    tracing::subscriber::with_default(subscriber, act);
    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    written.lines().map(str::to_owned).collect()
}

#[test]
fn a_flood_is_a_few_lines_and_a_count() {
    let _alone = ALONE.blocking_lock();
    let flooded = Principal::uid(4_000_000_001);
    let begun = Instant::now();
    let lines = written(|| {
        for _ in 0..20_000 {
            peer_line!(WARN, flooded, uid = 4_000_000_001_u32, "flood");
        }
        tell_left_out();
    });
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 1;
    let (summary, lines) = lines.split_last().unwrap();
    assert!(lines.len() <= 15 * seconds, "{} lines", lines.len());
    assert!(lines[0].contains(r#""uid":4000000001"#), "{}", lines[0]);
    assert!(!lines[0].contains("left_out"), "{}", lines[0]);
    assert!(
        summary.contains("lines about peers were left out"),
        "{summary}"
    );
    assert!(left_out_total() > 0);
}

/// What libraries say of a peer that floods: a thousand of each level.
fn flood_of_libraries() {
    for _ in 0..1_000 {
        tracing::error!(target: "sqlx::pool", "no connection");
        tracing::warn!(target: "h2::proto::ping_pong", "recv PING ack that we never sent");
        tracing::info!(target: "hyper", "accepted");
        tracing::debug!(target: "h2::codec", "received");
    }
}

/// How many of these lines have a target that begins so.
fn count(lines: &[String], target: &str) -> usize {
    let target = format!("\"target\":\"{target}");
    lines.iter().filter(|line| line.contains(&target)).count()
}

/// So many lines has a principal in that time.
fn most_since(begun: Instant) -> usize {
    15 * (usize::try_from(begun.elapsed().as_secs()).unwrap() + 1)
}

#[test]
fn libraries_write_errors_only_and_few() {
    let _alone = ALONE.blocking_lock();
    for filter in ["info", "debug", "countersign=warn,trace"] {
        let begun = Instant::now();
        let lines = written_at(filter, flood_of_libraries);
        assert_eq!(count(&lines, "sqlx"), lines.len(), "{filter}");
        assert!(lines.len() <= most_since(begun), "{} lines", lines.len());
    }
    let told = written(tell_left_out);
    assert_eq!(told.len(), 1, "{told:?}");
    let told = &told[0];
    assert!(told.contains("lines about peers were left out"), "{told}");
}

#[test]
fn library_that_is_named_is_limited_as_well() {
    let _alone = ALONE.blocking_lock();
    let begun = Instant::now();
    let mut lines = Vec::new();
    // Another test may have used up the share of this moment.
    while lines.is_empty() {
        lines = written_at("off, h2=warn", flood_of_libraries);
    }
    assert_eq!(count(&lines, "h2::proto::ping_pong"), lines.len());
    assert!(lines.len() <= most_since(begun), "{} lines", lines.len());
}

#[test]
fn debug_lines_of_a_named_library_are_all_there() {
    let _alone = ALONE.blocking_lock();
    let lines = written_at("info,h2=debug", flood_of_libraries);
    assert_eq!(count(&lines, "h2::codec"), 1_000);
}

#[test]
fn filter_of_our_own_code_is_kept() {
    let ours = || {
        tracing::warn!(target: "countersign_sidecar", "first");
        tracing::debug!(target: "countersign_verify", "second");
    };
    for (filter, expected) in [
        ("info", 1),
        ("debug", 2),
        ("off", 0),
        ("countersign_verify=debug", 1),
        ("info,countersign_verify=debug", 2),
        ("countersign=error,debug", 0),
        ("", 0),
    ] {
        assert_eq!(written_at(filter, ours).len(), expected, "{filter:?}");
    }
}

#[test]
fn filtered_lines_take_no_share() {
    let principal = Principal::identity("spiffe://example.org/node/quiet");
    let lines = written(|| {
        for _ in 0..1_000 {
            peer_line!(DEBUG, principal, "not asked for");
        }
        peer_line!(INFO, principal, "asked for");
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn neighbours_in_an_ipv6_site_share() {
    let source = |address: &str| Principal::source(address.parse().unwrap());
    assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
    assert_eq!(source("2001:db8::1"), source("2001:db8:0:ff::1"));
    assert_ne!(source("2001:db8::1"), source("2001:db8:0:100::1"));
    assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
    assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    assert_ne!(source("192.0.2.1"), source("192.0.2.1").at("web"));
    assert_ne!(source("192.0.2.1").at("web"), source("192.0.2.1").at("api"));
}

#[test]
fn loopback_addresses_share() {
    let source = |address: &str| Principal::source(address.parse().unwrap());
    for loopback in ["127.0.0.2", "::1", "::ffff:127.9.9.9"] {
        assert_eq!(source(loopback), source("127.0.0.1"), "{loopback}");
    }
    assert_ne!(source("128.0.0.1"), source("127.0.0.1"));
}

#[tokio::test(start_paused = true)]
async fn what_no_line_tells_a_summary_tells() {
    let _alone = ALONE.lock().await;
    let principal = Principal::source("192.0.2.77".parse().unwrap()).at("summary");
    for _ in 0..100 {
        admit(principal);
    }
    let log = Log::default();
    let writer = log.clone();
    let lines = crate::lines(true, move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(lines);
    let _default = tracing::subscriber::set_default(subscriber);
    let summary = tokio::time::timeout(SUMMARY_INTERVAL * 2, summarize());
    assert!(summary.await.is_err(), "it never ends");
    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(written.contains("left out"), "{written}");
}
