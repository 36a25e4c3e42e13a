use std::convert::Infallible;
use std::fs;

use jiff::SignedDuration;
use tempfile::TempDir;

use super::*;

mod archive;
mod batches;
mod damage;
mod faults;
mod published;

/// A log in a folder of its own.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn options(&self) -> Options {
        Options {
            dir: self.dir(),
            key: self.folder.path().join("log.key"),
            origin: "example.org/log".to_owned(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn open(&self) -> Log {
        Log::open(&self.options()).unwrap()
    }
}

fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
}

/// What the tests put under an index: of many lengths, none of them alike.
fn body(index: u64) -> Vec<u8> {
    let length = usize::try_from(index % 7).unwrap();
    format!("entry {index} {}", "x".repeat(length)).into_bytes()
}

async fn append(log: &Log) -> Result<u64, LogError> {
    match log.append(|index| Ok::<_, Infallible>(body(index))).await {
        Ok(appended) => Ok(appended.index),
        Err(AppendError::Log(error)) => Err(error),
        Err(AppendError::Made(never)) => match never {},
    }
}

/// Appends many entries side by side: few batches.
async fn fill(log: &Log, count: u64) {
    let appends = (0..count).map(|_| append(log));
    let outcomes = futures_util::future::join_all(appends).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

fn assert_holds(log: &Log, from: u64, to: u64) {
    assert_eq!(log.size(), to);
    let mut next = from;
    for entry in log.scan(0) {
        let (index, entry) = entry.unwrap();
        assert_eq!(index, next);
        assert_eq!(*entry, body(index));
        next += 1;
    }
    assert_eq!(next, to);
    for index in [from, (from + to) / 2, to - 1] {
        assert_eq!(*log.entry(index).unwrap().unwrap(), body(index));
    }
    assert!(log.entry(to).unwrap().is_none());
}

#[tokio::test]
async fn what_was_appended_is_there_after_reopening() {
    let scene = Scene::new();
    let mut size = 0;
    for more in [1, 2, 300, 5000, 1] {
        let log = scene.open();
        fill(&log, more).await;
        size += more;
        assert_holds(&log, 0, size);
    }
    assert_holds(&scene.open(), 0, size);
}

#[tokio::test]
async fn an_entry_that_fails_leaves_no_hole() {
    let scene = Scene::new();
    let log = scene.open();
    append(&log).await.unwrap();
    let made = log.append(|_| Err("no certificate")).await;
    assert!(matches!(made, Err(AppendError::Made("no certificate"))));
    let long = log
        .append(|_| Ok::<_, Infallible>(vec![0; crate::MAX_ENTRY_BYTES + 1]))
        .await;
    assert!(matches!(long, Err(AppendError::Log(LogError::TooLong))));
    assert_eq!(append(&log).await.unwrap(), 1);
    assert_holds(&log, 0, 2);
}

#[tokio::test]
async fn longest_and_empty_entries_are_taken() {
    let scene = Scene::new();
    let log = scene.open();
    for length in [0, crate::MAX_ENTRY_BYTES, 0] {
        let entry = log.append(|_| Ok::<_, Infallible>(vec![7; length])).await;
        entry.unwrap();
    }
    log.publish(at(0)).unwrap();
    drop(log);
    let lengths: Vec<usize> = scene
        .open()
        .scan(0)
        .map(|entry| entry.unwrap().1.len())
        .collect();
    assert_eq!(lengths, [0, crate::MAX_ENTRY_BYTES, 0]);
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_its_place_back() {
    let scene = Scene::new();
    let log = scene.open();
    for _ in 0..3 * crate::append::MAX_WAITING {
        let mut append = Box::pin(append(&log));
        let polled = futures_util::poll!(append.as_mut());
        drop(polled);
    }
    append(&log).await.unwrap();
    let size = log.size();
    assert_holds(&log, 0, size);
}

#[tokio::test]
async fn attachments_are_kept_beside_entries() {
    let scene = Scene::new();
    let log = scene.open();
    fill(&log, 3).await;
    log.attach(1, b"signature").unwrap();
    assert!(matches!(log.attach(3, b"none"), Err(LogError::Refused(_))));
    assert!(matches!(log.attach(0, &[0; 73]), Err(LogError::Refused(_))));
    drop(log);
    let log = scene.open();
    assert_eq!(
        log.attachment(1).unwrap().as_deref(),
        Some(&b"signature"[..])
    );
    assert_eq!(
        (log.attachment(0).unwrap(), log.attachment(9).unwrap()),
        (None, None)
    );
}
