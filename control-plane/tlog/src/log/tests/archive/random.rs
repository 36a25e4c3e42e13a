//! Any run of faults: no index is given to two entries, and what was acknowledged is never lost.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What happens next.
#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    Archive(Refusal),
    Disk(Vec<Fault>),
    Publish,
    /// The process ends; where it is killed, what was not synced may be gone.
    Reopen {
        loses: bool,
    },
    Copy,
    /// The folder is as it was at the last copy.
    PutBack,
    EmptyDisk,
}

fn acts() -> impl Strategy<Value = Act> {
    let disk = [
        vec![Fault::Write(30)],
        vec![Fault::Write(0), Fault::Write(30)],
        vec![Fault::Write(70), Fault::Truncate],
        vec![Fault::Sync],
    ];
    prop_oneof![
        8 => (1usize..20).prop_map(Act::Append),
        1 => Just(Act::Archive(Refusal::Refused)),
        1 => any::<bool>().prop_map(|is_kept| Act::Archive(Refusal::Lost { is_kept })),
        3 => select(disk.to_vec()).prop_map(Act::Disk),
        1 => Just(Act::Publish),
        2 => any::<bool>().prop_map(|loses| Act::Reopen { loses }),
        1 => Just(Act::Copy),
        1 => Just(Act::PutBack),
        1 => Just(Act::EmptyDisk),
    ]
}

/// A log, and what its callers know.
struct Run {
    scene: Scene,
    archive: Memory,
    log: Option<Log>,
    script: Script,
    made: u64,
    acknowledged: BTreeMap<u64, Vec<u8>>,
}

impl Run {
    fn new() -> Self {
        let (scene, archive) = (Scene::new(), Memory::default());
        let (log, script) = scene.open_faulty_with(&archive);
        Self {
            scene,
            archive,
            log: Some(log),
            script,
            made: 0,
            acknowledged: BTreeMap::new(),
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Append(count) => self.append(count).await,
            Act::Archive(refusal) => self.archive.then(&[refusal]),
            Act::Disk(faults) => self.script.then(&faults),
            // A log that stopped says so.
            Act::Publish => drop(self.log().publish(at(0))),
            Act::Reopen { loses } => {
                self.close(loses);
                self.open();
            }
            Act::Copy => {
                self.close(false);
                let copied = self.copied();
                if copied.exists() {
                    fs::remove_dir_all(&copied).unwrap();
                }
                copy(&self.scene.dir(), &copied);
                self.open();
            }
            Act::PutBack | Act::EmptyDisk => {
                self.close(true);
                fs::remove_dir_all(self.scene.dir()).unwrap();
                if matches!(act, Act::PutBack) && self.copied().exists() {
                    copy(&self.copied(), &self.scene.dir());
                }
                self.open();
            }
        }
    }

    async fn append(&mut self, count: usize) {
        let log = self.log.as_ref().unwrap();
        let first = self.made;
        self.made += count as u64;
        let appends = (first..self.made).map(|number| async move {
            let entry = format!("made as number {number}").into_bytes();
            let made = entry.clone();
            let appended = log.append(|_| Ok::<_, Infallible>(made)).await;
            appended.map(|appended| (appended.index, entry))
        });
        for appended in futures_util::future::join_all(appends).await {
            let Ok((index, entry)) = appended else {
                continue;
            };
            // What the disk does not have yet has nothing beside it.
            let _ = log.attach(index, b"signed");
            let before = self.acknowledged.insert(index, entry);
            assert_eq!(before, None, "index {index} was given twice");
        }
    }

    fn close(&mut self, loses: bool) {
        let lengths = self.log().parts.tail.lengths();
        let stopped = self.log().parts.intake.stopped();
        self.log = None;
        // A log that did not stop writes until it is dropped.
        if loses && stopped {
            lose_unsynced(lengths);
        }
    }

    fn open(&mut self) {
        self.archive.held().refusals.clear();
        let (log, script) = self.scene.open_faulty_with(&self.archive);
        (self.log, self.script) = (Some(log), script);
        self.check();
    }

    fn check(&self) {
        let held = self.archive.held();
        let log = self.log();
        let entries: Vec<Vec<u8>> = log.scan(0).map(|entry| entry.unwrap().1.to_vec()).collect();
        assert_eq!(entries, held.entries, "the log is what the archive has");
        for (index, entry) in &self.acknowledged {
            assert_eq!(&entries[usize::try_from(*index).unwrap()], entry);
        }
    }

    fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    fn copied(&self) -> PathBuf {
        self.scene.folder.path().join("copied")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn faults_never_give_an_index_twice_or_lose_an_entry(
        acts in proptest::collection::vec(acts(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let mut run = Run::new();
            for act in acts {
                run.act(act).await;
            }
            run.close(true);
            run.open();
        });
    }
}
