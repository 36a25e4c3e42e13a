//! A process that appends is killed again and again: what it acknowledged is there, once, and no
//! index is missing.

#![allow(
    clippy::unwrap_used,
    reason = "what a test starts and reads either works or the test failed"
)]

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_tlog::{Log, Options};
use jiff::{SignedDuration, Timestamp};

const FOLDER: &str = "COUNTERSIGN_TEST_LOG";
const ROUNDS: u32 = 60;
const LIMIT: Duration = Duration::from_secs(10);
/// Most acknowledgements that are read before a kill.
const MOST: u32 = 400;

fn options(folder: &Path) -> Options {
    Options {
        dir: folder.join("log"),
        key: folder.join("log.key"),
        origin: "example.org/log".to_owned(),
    }
}

fn body(index: u64) -> Vec<u8> {
    let length = usize::try_from(index % 500).unwrap();
    format!("{index} {}", "-".repeat(length)).into_bytes()
}

#[test]
#[ignore = "the process that is killed; the test beside it starts it"]
fn append_until_killed() {
    let folder = std::env::var_os(FOLDER).expect("the test that starts this one sets it");
    let log = Log::open(&options(folder.as_ref())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        for round in 0u32.. {
            let appends =
                (0..=round % 30).map(|_| log.append(|index| Ok::<_, Infallible>(body(index))));
            let mut acknowledged = String::new();
            for index in futures_util::future::join_all(appends).await {
                let index = index.unwrap().index;
                log.attach(index, &index.to_be_bytes()).unwrap();
                acknowledged.push_str(&format!("acknowledged {index}\n"));
            }
            std::io::stdout()
                .write_all(acknowledged.as_bytes())
                .unwrap();
            if round % 5 == 4 {
                let now = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(i64::from(round));
                log.publish(now).unwrap();
            }
            if round % 40 == 39 {
                log.prune(log.size().saturating_sub(2000)).unwrap();
            }
        }
    });
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "append_until_killed"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs the process until it acknowledged some entries, kills it, and gives what it acknowledged.
fn run(folder: &Path, enough: u32) -> Vec<u64> {
    let mut child = start(folder);
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (mut acknowledged, mut killed) = (Vec::new(), false);
    // After the kill the pipe still holds what was said before it.
    for line in stdout.lines() {
        let line = line.unwrap();
        let index = line.strip_prefix("acknowledged ");
        acknowledged.extend(index.map(|index| index.parse::<u64>().unwrap()));
        if !killed && acknowledged.len() >= enough as usize {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the process ended by itself");
    acknowledged
}

#[test]
fn acknowledged_entries_survive_kills_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let (mut begin, mut size, mut rounds) = (Instant::now(), 0, 0);
    while rounds < ROUNDS && begin.elapsed() < LIMIT {
        let acknowledged = run(folder.path(), random.u32(1..MOST));
        let log = Log::open(&options(folder.path())).unwrap();
        // Each index once and in order: none was given twice, none left out.
        assert!(
            acknowledged
                .iter()
                .copied()
                .eq(size..size + acknowledged.len() as u64)
        );
        assert!(log.size() >= size + acknowledged.len() as u64);
        let mut next = log.first_retained();
        for entry in log.scan(0) {
            let (index, entry) = entry.unwrap();
            assert_eq!((index, &*entry), (next, &*body(index)));
            next += 1;
        }
        size = log.size();
        assert_eq!(next, size);
        rounds += 1;
        if rounds == 1 {
            begin = Instant::now();
        }
    }
    assert!(rounds > 3, "only {rounds} kills");
}
