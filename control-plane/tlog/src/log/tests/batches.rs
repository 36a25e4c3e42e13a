//! How many entries share an fsync.

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicUsize;

use super::*;

/// Counts fsyncs.
struct Counted {
    disk: Disk,
    syncs: Arc<AtomicUsize>,
}

impl JournalStore for Counted {
    fn begin(&mut self, first: u64) -> io::Result<Arc<File>> {
        self.disk.begin(first)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.disk.sync_folder()
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.disk.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.disk.sync()
    }
}

/// A log, and how many fsyncs it has made.
fn counted(scene: &Scene) -> (Log, Arc<AtomicUsize>) {
    let syncs = Arc::new(AtomicUsize::new(0));
    let counter = syncs.clone();
    let log = Log::open_on(&scene.options(), None, |disk| Counted {
        disk,
        syncs: counter,
    });
    (log.unwrap(), syncs)
}

#[tokio::test]
async fn entries_that_come_together_share_one_fsync() {
    const TOGETHER: u64 = 40;
    let scene = Scene::new();
    let (log, syncs) = counted(&scene);
    for round in 1..=20 {
        let before = syncs.load(Ordering::SeqCst);
        fill(&log, TOGETHER).await;
        assert_eq!(syncs.load(Ordering::SeqCst) - before, 1, "round {round}");
    }
    assert_holds(&log, 0, 20 * TOGETHER);
}

#[tokio::test]
async fn entries_that_come_a_turn_apart_share_fsyncs() {
    const TURNS: usize = 5;
    let scene = Scene::new();
    let (log, syncs) = counted(&scene);
    let log = Arc::new(log);
    // In which order a turn runs its tasks is the runtime's affair: the first entry may look before
    // the others of its turn moved, and then the writer has it alone.
    let entries = (0..TURNS).rev().map(|turns| {
        let log = log.clone();
        tokio::spawn(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            append(&log).await.unwrap()
        })
    });
    let entries: Vec<_> = entries.collect();
    for entry in entries {
        entry.await.unwrap();
    }
    let syncs = syncs.load(Ordering::SeqCst);
    assert!(syncs < TURNS, "{syncs} fsyncs for {TURNS} entries");
    assert_holds(&log, 0, TURNS as u64);
}

#[tokio::test]
async fn a_batch_whose_first_caller_went_away_is_written() {
    let scene = Scene::new();
    let log = scene.open();
    for _ in 0..50 {
        let before = log.size();
        // Asked once and given up, while the one behind it waits.
        let mut first = Box::pin(append(&log));
        let _ = futures_util::poll!(&mut first);
        let mut second = Box::pin(append(&log));
        let _ = futures_util::poll!(&mut second);
        drop(first);
        let bound = std::time::Duration::from_secs(30);
        tokio::time::timeout(bound, second).await.unwrap().unwrap();
        assert_eq!(log.size(), before + 2);
    }
}
