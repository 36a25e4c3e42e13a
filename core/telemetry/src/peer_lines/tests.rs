use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing_subscriber::EnvFilter;
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
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::registry()
        .with(EnvFilter::new("info"))
        .with(crate::lines(true, move || writer.clone()))
        .with(crate::no_spans());
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
fn neighbours_in_an_ipv6_network_share() {
    let source = |address: &str| Principal::source(address.parse().unwrap());
    assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
    assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
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
