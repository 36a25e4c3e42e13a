//! Logs whose entries are in an archive before the disk has them.

use std::collections::VecDeque;
use std::fs::File;

use super::faults::{Fault, Faulty, Script};
use super::published::{self, checkpoint, files_in};
use super::*;
use crate::NotKept;
use crate::journal::record;

mod healing;
mod random;
mod sealing;

/// What an archive does at its next call.
#[derive(Clone, Debug)]
enum Refusal {
    Refused,
    Panics,
    /// The answer is lost; the entries are kept, or not.
    Lost {
        is_kept: bool,
    },
}

/// An archive in memory. Its place is the number of the batch.
#[derive(Clone, Debug, Default)]
struct Memory(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    entries: Vec<Vec<u8>>,
    /// Below it nothing is given out, as if it were lost.
    lost_below: u64,
    batches: u64,
    /// Entries of a page; 0 means seven, so that pages end anywhere.
    page: usize,
    refusals: VecDeque<Refusal>,
    /// A folder whose journal must not hold an entry before it is kept.
    watched: Option<PathBuf>,
}

impl Memory {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holding(entries: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let memory = Self::default();
        memory.held().entries = entries.into_iter().collect();
        memory
    }

    fn then(&self, refusals: &[Refusal]) {
        self.held().refusals.extend(refusals.iter().cloned());
    }

    fn boxed(&self) -> Box<dyn Archive> {
        Box::new(self.clone())
    }
}

impl Held {
    fn add(&mut self, first: u64, entries: &[&[u8]]) {
        // What the archive of a real log would do: an index is given once.
        assert_eq!(first, self.entries.len() as u64, "an index is given twice");
        if let Some(folder) = &self.watched {
            assert_eq!(records(folder), first, "the journal comes second");
        }
        let entries = entries.iter().map(|entry| entry.to_vec());
        self.entries.extend(entries);
        self.batches += 1;
    }
}

impl Archive for Memory {
    fn keep(&mut self, first: u64, entries: &[&[u8]]) -> Result<u64, NotKept> {
        let mut held = self.held();
        match held.refusals.pop_front() {
            Some(Refusal::Refused) => return Err(NotKept::Refused("away".to_owned())),
            Some(Refusal::Panics) => panic!("a bug of the archive"),
            Some(Refusal::Lost { is_kept }) => {
                if is_kept {
                    held.add(first, entries);
                }
                return Err(NotKept::Stopped);
            }
            None => held.add(first, entries),
        }
        Ok(held.batches)
    }

    fn end(&mut self) -> Result<u64, String> {
        Ok(self.held().entries.len() as u64)
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let held = self.held();
        let from = from.max(held.lost_below);
        let numbered = (0..).zip(held.entries.iter().cloned());
        let most = if held.page == 0 { 7 } else { held.page };
        let page = numbered.skip(usize::try_from(from).unwrap()).take(most);
        Ok(page.collect())
    }
}

/// How many records the first segment holds.
fn records(folder: &Path) -> u64 {
    let bytes = fs::read(folder.join("journal/0")).unwrap_or_default();
    let (mut rest, mut count) = (&bytes[..], 0);
    while let Some((_, later)) = record::parse(rest) {
        (rest, count) = (later, count + 1);
    }
    count
}

/// Takes away what is behind the durable part of each segment.
fn lose_unsynced(lengths: Vec<(PathBuf, u64)>) {
    for (path, length) in lengths {
        let segment = File::options().write(true).open(path).unwrap();
        segment.set_len(length).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

impl Scene {
    fn open_with(&self, archive: &Memory) -> Log {
        Log::open_with(&self.options(), archive.boxed()).unwrap()
    }

    fn open_faulty_with(&self, archive: &Memory) -> (Log, Script) {
        let script = Script::default();
        let through = script.clone();
        let log = Log::open_on(&self.options(), Some(archive.boxed()), |disk| Faulty {
            disk,
            script: through,
        });
        (log.unwrap(), script)
    }
}

async fn appended(log: &Log) -> Appended {
    let made = log.append(|index| Ok::<_, Infallible>(body(index))).await;
    made.unwrap()
}

#[tokio::test]
async fn archive_has_entries_before_the_journal() {
    let (scene, archive) = (Scene::new(), Memory::default());
    archive.held().watched = Some(scene.dir());
    let log = scene.open_with(&archive);
    for index in 0..5 {
        let place = index + 1;
        assert_eq!(appended(&log).await, Appended { index, place });
        assert_eq!(records(&scene.dir()), index + 1);
    }
    fill(&log, 100).await;
    assert_holds(&log, 0, 105);
    assert_eq!(archive.held().entries.len(), 105);
    drop(log);
    let log = scene.open();
    let place = 0;
    assert_eq!(appended(&log).await, Appended { index: 105, place });
}

#[tokio::test]
async fn refusing_archive_gives_indexes_back() {
    let (scene, archive) = (Scene::new(), Memory::default());
    let log = scene.open_with(&archive);
    fill(&log, 5).await;
    for _ in 0..3 {
        archive.then(&[Refusal::Refused]);
        let refused = append(&log).await;
        assert!(
            matches!(&refused, Err(LogError::NotArchived(why)) if why == "away"),
            "{refused:?}"
        );
        assert!(log.needs_only_room(), "it is not the disk");
    }
    assert_eq!(append(&log).await.unwrap(), 5);
    assert_holds(&log, 0, 6);
}

#[tokio::test]
async fn archive_that_does_not_know_stops_the_log() {
    for is_kept in [false, true] {
        let (scene, archive) = (Scene::new(), Memory::default());
        let log = scene.open_with(&archive);
        fill(&log, 5).await;
        archive.then(&[Refusal::Lost { is_kept }]);
        for _ in 0..2 {
            assert!(matches!(append(&log).await, Err(LogError::Stopped)));
        }
        assert_eq!(log.size(), 5);
        drop(log);
        let log = scene.open_with(&archive);
        let size = 5 + u64::from(is_kept);
        assert_holds(&log, 0, size);
        assert_eq!(append(&log).await.unwrap(), size);
    }
}

/// The archive has it, so it is durable, and another entry never has its index.
#[tokio::test]
async fn archived_entry_outlives_a_full_disk() {
    let (scene, archive) = (Scene::new(), Memory::default());
    let (log, script) = scene.open_faulty_with(&archive);
    fill(&log, 5).await;
    script.then(&[Fault::Write(0), Fault::Write(25), Fault::Write(9)]);
    assert_eq!(appended(&log).await.index, 5);
    assert_holds(&log, 0, 6);
    assert_eq!(records(&scene.dir()), 5);
    let refused = append(&log).await;
    assert!(matches!(refused, Err(LogError::Refused(_))), "{refused:?}");
    assert!(
        matches!(log.attach(5, b"signed"), Err(LogError::Refused(_))),
        "nothing is kept beside what the disk does not have"
    );
    log.publish(at(0)).unwrap();
    assert_eq!(log.published(), 5, "a checkpoint covers what the disk has");
    assert_eq!(archive.held().entries.len(), 6);
    // It is offered to the disk again, though nobody appends.
    let bound = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while log.attach(5, b"signed").is_err() {
        assert!(std::time::Instant::now() < bound);
        tokio::task::yield_now().await;
    }
    assert_eq!(append(&log).await.unwrap(), 6);
    log.publish(at(0)).unwrap();
    assert_eq!(checkpoint(&scene).root, published::root(7));
    assert_holds(&log, 0, 7);
    drop(log);
    assert_holds(&scene.open(), 0, 7);
}

#[tokio::test]
async fn fsync_that_fails_behind_the_archive_is_healed() {
    for faults in [&[Fault::Sync][..], &[Fault::Write(9), Fault::Truncate]] {
        let (scene, archive) = (Scene::new(), Memory::default());
        let (log, script) = scene.open_faulty_with(&archive);
        fill(&log, 5).await;
        script.then(faults);
        assert!(matches!(append(&log).await, Err(LogError::Stopped)));
        assert!(matches!(append(&log).await, Err(LogError::Stopped)));
        let lengths = log.parts.tail.lengths();
        drop(log);
        lose_unsynced(lengths);
        let log = scene.open_with(&archive);
        assert_holds(&log, 0, 6);
        assert_eq!(append(&log).await.unwrap(), 6);
    }
}

#[tokio::test]
async fn full_disk_at_the_end_is_healed_at_the_start() {
    let (scene, archive) = (Scene::new(), Memory::default());
    let (log, script) = scene.open_faulty_with(&archive);
    script.then(&[Fault::Write(0); 1000]);
    append(&log).await.unwrap();
    drop(log);
    assert_eq!(records(&scene.dir()), 0);
    assert_holds(&scene.open_with(&archive), 0, 1);
    assert_eq!(records(&scene.dir()), 1);
}

#[tokio::test]
async fn full_journal_gives_nothing_to_the_archive() {
    let (scene, archive) = (Scene::new(), Memory::default());
    let (log, script) = scene.open_faulty_with(&archive);
    fill(&log, journal::SEGMENT_ENTRIES).await;
    script.then(&[Fault::Begin]);
    assert!(matches!(append(&log).await, Err(LogError::Refused(_))));
    assert_eq!(
        archive.held().entries.len() as u64,
        journal::SEGMENT_ENTRIES
    );
    fill(&log, 10).await;
    assert_holds(&log, 0, journal::SEGMENT_ENTRIES + 10);
}

#[tokio::test]
async fn archive_that_panics_leaves_nobody_waiting() {
    let (scene, archive) = (Scene::new(), Memory::default());
    let log = scene.open_with(&archive);
    archive.then(&[Refusal::Panics]);
    let bound = std::time::Duration::from_secs(30);
    for _ in 0..2 {
        let stopped = tokio::time::timeout(bound, append(&log)).await.unwrap();
        assert!(matches!(stopped, Err(LogError::Stopped)), "{stopped:?}");
    }
}
