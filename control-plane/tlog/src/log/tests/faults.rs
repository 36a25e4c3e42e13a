//! Disks that fail, through the seam of [`JournalStore`].

use std::collections::VecDeque;
use std::fs::File;
use std::io;

use super::*;

/// What goes wrong at the next call of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Begin,
    SyncFolder,
    /// So many bytes are written, then no space is left.
    Write(usize),
    Truncate,
    Sync,
}

#[derive(Clone, Default)]
pub(super) struct Script(Arc<Mutex<VecDeque<Fault>>>);

impl Script {
    pub(super) fn then(&self, faults: &[Fault]) {
        self.0.lock().unwrap().extend(faults);
    }

    /// The next fault, where `fits` says that it is of this call.
    fn due(&self, fits: impl Fn(Fault) -> bool) -> Option<Fault> {
        let mut script = self.0.lock().unwrap();
        let next = script.front().copied().filter(|fault| fits(*fault))?;
        script.pop_front();
        Some(next)
    }

    fn check(&self, fault: Fault) -> io::Result<()> {
        let due = self.due(|next| next == fault);
        due.map_or(Ok(()), |fault| Err(io::Error::other(format!("{fault:?}"))))
    }
}

pub(super) struct Faulty {
    pub(super) disk: Disk,
    pub(super) script: Script,
}

impl JournalStore for Faulty {
    fn begin(&mut self, first: u64) -> io::Result<Arc<File>> {
        self.script.check(Fault::Begin)?;
        self.disk.begin(first)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.script.check(Fault::SyncFolder)?;
        self.disk.sync_folder()
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let due = self.script.due(|next| matches!(next, Fault::Write(_)));
        let Some(Fault::Write(written)) = due else {
            return self.disk.write(bytes, offset);
        };
        self.disk
            .write(&bytes[..written.min(bytes.len())], offset)?;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.script.check(Fault::Truncate)?;
        self.disk.truncate(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.script.check(Fault::Sync)?;
        self.disk.sync()
    }
}

impl Scene {
    fn open_faulty(&self) -> (Log, Script) {
        let script = Script::default();
        let through = script.clone();
        let log = Log::open_on(&self.options(), None, |disk| Faulty {
            disk,
            script: through,
        });
        (log.unwrap(), script)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let scene = Scene::new();
    let (log, script) = scene.open_faulty();
    fill(&log, 5).await;
    for written in [0, 1, 25, 1000] {
        script.then(&[Fault::Write(written)]);
        let refused = append(&log).await;
        assert!(matches!(refused, Err(LogError::Refused(_))), "{refused:?}");
    }
    assert_eq!(append(&log).await.unwrap(), 5, "the index was not used up");
    assert_holds(&log, 0, 6);
    drop(log);
    assert_holds(&scene.open(), 0, 6);
}

#[tokio::test]
async fn what_waits_behind_a_refused_batch_is_refused() {
    let scene = Scene::new();
    let (log, script) = scene.open_faulty();
    for _ in 0..20 {
        script.then(&[Fault::Write(40)]);
        let appends = (0..64).map(|_| append(&log));
        let outcomes = futures_util::future::join_all(appends).await;
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert!(refused > 0);
        fill(&log, 1).await;
    }
    let size = log.size();
    assert_holds(&log, 0, size);
    drop(log);
    assert_holds(&scene.open(), 0, size);
}

#[tokio::test]
async fn a_failed_fsync_stops_the_log_for_good() {
    for faults in [
        &[Fault::Sync][..],
        &[Fault::Write(9), Fault::Truncate],
        &[Fault::SyncFolder],
    ] {
        let scene = Scene::new();
        let before = if faults == [Fault::SyncFolder] {
            journal::SEGMENT_ENTRIES
        } else {
            5
        };
        let (log, script) = scene.open_faulty();
        fill(&log, before).await;
        script.then(faults);
        for _ in 0..3 {
            assert!(matches!(append(&log).await, Err(LogError::Stopped)));
        }
        assert!(matches!(log.publish(at(0)), Err(LogError::Stopped)));
        assert!(!log.needs_only_room(), "{faults:?}");
        assert_eq!(log.size(), before, "{faults:?}");
        assert_eq!(*log.entry(0).unwrap().unwrap(), body(0), "reading goes on");
        drop(log);
        let log = scene.open();
        let size = log.size();
        assert!((before..=before + 1).contains(&size));
        assert_holds(&log, 0, size);
    }
}

#[tokio::test]
async fn a_segment_that_cannot_begin_refuses() {
    let scene = Scene::new();
    let (log, script) = scene.open_faulty();
    fill(&log, journal::SEGMENT_ENTRIES).await;
    script.then(&[Fault::Begin]);
    assert!(matches!(append(&log).await, Err(LogError::Refused(_))));
    fill(&log, 10).await;
    assert_holds(&log, 0, journal::SEGMENT_ENTRIES + 10);
}

#[tokio::test]
async fn publication_that_cannot_write_leaves_appends_alone() {
    let scene = Scene::new();
    let log = scene.open();
    fill(&log, 300).await;
    // A file where a folder has to be: it cannot be written, whoever asks.
    fs::write(scene.dir().join("tile/entries"), b"").unwrap();
    assert!(matches!(log.publish(at(0)), Err(LogError::Refused(_))));
    fill(&log, 300).await;
    fs::remove_file(scene.dir().join("tile/entries")).unwrap();
    log.publish(at(0)).unwrap();
    assert_eq!(log.published(), 600);
    assert_holds(&log, 0, 600);
}

/// A full journal is a million entries. Here only their segments are there, but for the first.
#[tokio::test]
async fn full_journal_needs_a_checkpoint_and_no_room() {
    let scene = Scene::new();
    let log = scene.open();
    fill(&log, journal::SEGMENT_ENTRIES - 1).await;
    let file = Arc::new(File::create(scene.folder.path().join("segment")).unwrap());
    for segment in 1..journal::MAX_SEGMENTS as u64 {
        assert!(log.needs_only_room());
        let first = segment * journal::SEGMENT_ENTRIES;
        log.parts.tail.begin(first, Arc::clone(&file));
    }
    assert!(log.needs_only_room(), "one fits into its segment");
    fill(&log, 1).await;
    assert!(!log.needs_only_room());
    let refused = append(&log).await.unwrap_err().to_string();
    assert!(refused.contains("wait for a checkpoint"), "{refused}");
}
