//! What an auditor kept before a restore still counts.

use countersign_proto::log::Restored;

use super::*;

const NEXT_ID: u32 = 0x0d_4e5f;

/// A log that was backed up at some size, and what was kept of it.
struct Restore {
    scene: Scene,
    /// Checkpoints of the log before, by size, and its key.
    kept: TempDir,
}

fn origin(id: u32) -> String {
    format!("example.org/countersign/log/{id:06x}")
}

impl Restore {
    /// A log of 300 entries is backed up; it goes on to 310, and is lost. What is restored goes on
    /// to 320.
    fn new() -> Self {
        let (scene, kept) = (Scene::new(), tempfile::tempdir().unwrap());
        let this = Self { scene, kept };
        let old = this.options("old", LOG_ID);
        let log = Log::open(&old).unwrap();
        this.scene.fill(&log, 200);
        this.keep(&log, &old, 200);
        this.scene.fill(&log, 300);
        log.publish(at(1)).unwrap();
        let new = this.options("new", NEXT_ID);
        copy(&old.dir, &new.dir);
        this.scene.append(&log, |_| refused("after the backup"));
        this.scene.fill(&log, 310);
        this.keep(&log, &old, 310);

        countersign_tlog::succeed(&new, &this.kept.path().join("before")).unwrap();
        let log = Log::open(&new).unwrap();
        this.scene.append(&log, |index| {
            entry(What::Restored(Restored {
                epoch: 2,
                backup_size: index,
                log_id: NEXT_ID,
                previous_log_id: LOG_ID,
            }))
        });
        this.scene.fill(&log, 320);
        log.publish(at(3)).unwrap();
        this
    }

    fn options(&self, name: &str, id: u32) -> Options {
        Options {
            dir: self.scene.folder.path().join(name),
            key: self.scene.folder.path().join(name).with_extension("key"),
            origin: origin(id),
        }
    }

    fn keep(&self, log: &Log, options: &Options, size: u64) {
        log.publish(at(2)).unwrap();
        let to = self.kept.path().join(size.to_string());
        fs::copy(options.dir.join("checkpoint"), to).unwrap();
        fs::copy(
            options.dir.join("key.vkey"),
            self.kept.path().join("old.vkey"),
        )
        .unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.kept.path().join(name)
    }

    /// Judges the restored log by these keys and one kept checkpoint.
    fn judge(&self, keys: &[&Path], checkpoint: &Path) -> (Report, Vec<Flaw>) {
        let folder = Folder::new(&self.options("new", NEXT_ID).dir);
        let keys = keys.iter().map(|key| key.to_str().unwrap());
        let keys = LogKeys::open(keys, &folder).unwrap();
        let given = [checkpoint.to_owned()];
        let (output, mut seen) = (Output::new(true), Keys::default());
        let (report, flaws) = verify(&folder, &keys, &given, &mut seen, output).unwrap();
        (report.unwrap(), flaws)
    }

    fn new_key(&self) -> PathBuf {
        self.options("new", NEXT_ID).dir.join("key.vkey")
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for child in fs::read_dir(from).unwrap() {
        let (path, is_dir) = child.map(|it| (it.path(), it.path().is_dir())).unwrap();
        let target = to.join(path.file_name().unwrap());
        if is_dir {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

#[test]
fn a_checkpoint_from_before_a_restore_still_counts() {
    let restore = Restore::new();
    let (new, old) = (restore.new_key(), restore.path("old.vkey"));
    let (report, flaws) = restore.judge(&[&new, &old], &restore.path("200"));
    assert_eq!((flaws, report.origin), (vec![], origin(NEXT_ID)));
    assert_eq!(report.goes_on_from[0].log_id, format!("{LOG_ID:06x}"));
    assert_eq!(report.goes_on_from[0].entries, 300);
    // The last one of the log before lies beside the restored one.
    let beside = restore.path("before/checkpoint");
    assert_eq!(restore.judge(&[&new, &old], &beside).1, []);

    let log = restore.options("new", NEXT_ID).dir.display().to_string();
    let [new, old, kept] = [new, old, restore.path("200")].map(|path| path.display().to_string());
    let line = ["audit", "verify", "--log", &log, "--key", &new];
    let more = ["--key", &old, "--checkpoint", &kept];
    assert_eq!(run(&[&line[..], &more[..]].concat()), Ok(Exit::Yes));
    let without = run(&[&line[..], &more[2..]].concat());
    assert_eq!(without, Ok(Exit::No), "whose it is cannot be told");
}

#[test]
fn what_a_restore_left_behind_is_told() {
    let restore = Restore::new();
    let (new, old) = (restore.new_key(), restore.path("old.vkey"));
    let (_, flaws) = restore.judge(&[&new, &old], &restore.path("310"));
    let [flaw] = &flaws[..] else {
        panic!("{flaws:?}");
    };
    for part in ["310 entries of log 0a1b2c", "the first 300"] {
        assert!(flaw.problem.contains(part), "{}", flaw.problem);
    }
}

#[test]
fn a_checkpoint_before_a_restore_needs_its_key() {
    let restore = Restore::new();
    let (new, old) = (restore.new_key(), restore.path("old.vkey"));
    let (_, flaws) = restore.judge(&[&new], &restore.path("200"));
    assert!(flaws[0].problem.contains("--key"), "{flaws:?}");
    // Another history under the same name and key is none that the log goes on from.
    let forged = restore.options("forged", LOG_ID);
    fs::copy(restore.options("old", LOG_ID).key, &forged.key).unwrap();
    let log = Log::open(&forged).unwrap();
    restore.scene.append(&log, |_| refused("forged"));
    restore.scene.fill(&log, 200);
    log.publish(at(0)).unwrap();
    let (_, flaws) = restore.judge(&[&new, &old], &forged.dir.join("checkpoint"));
    let expected = "its root hash is not that of the first 200 entries";
    assert_eq!(flaws[0].problem, expected);
    // One that says it was signed, and was not.
    let note = fs::read_to_string(restore.path("200")).unwrap();
    let flipped = note.replacen("\n200\n", "\n201\n", 1);
    fs::write(restore.path("flipped"), flipped).unwrap();
    let (_, flaws) = restore.judge(&[&new, &old], &restore.path("flipped"));
    assert!(flaws[0].problem.contains("is not signed by"), "{flaws:?}");
}

#[test]
fn log_before_a_restore_is_not_taken_for_the_restored() {
    let restore = Restore::new();
    let old = restore.options("old", LOG_ID).dir.display().to_string();
    let keys = [restore.new_key(), restore.path("old.vkey")];
    let [newer, older, kept] =
        [&keys[0], &keys[1], &restore.path("200")].map(|path| path.display().to_string());
    let line = |first, second| {
        let line = ["audit", "verify", "--log", &old, "--key", first];
        run(&[&line[..], &["--key", second, "--checkpoint", &kept]].concat())
    };
    assert_eq!(line(&newer, &older), Ok(Exit::No));
    assert_eq!(line(&older, &newer), Ok(Exit::Yes), "asked as what it is");

    let folder = Folder::new(Path::new(&old));
    let known = LogKeys::open([&*newer, &*older], &folder).unwrap();
    let (output, mut seen) = (Output::new(true), Keys::default());
    let (report, flaws) = verify(&folder, &known, &[], &mut seen, output).unwrap();
    assert!(report.is_none());
    for part in [&*origin(LOG_ID), "the first --key"] {
        assert!(flaws[0].problem.contains(part), "{flaws:?}");
    }
}

#[test]
fn checkpoint_of_another_log_than_its_entries_is_wrong() {
    let scene = Scene::new();
    let options = Options {
        dir: scene.dir(),
        key: scene.folder.path().join("key"),
        origin: origin(NEXT_ID),
    };
    let log = Log::open(&options).unwrap();
    scene.fill(&log, 3);
    log.publish(at(0)).unwrap();
    let (_, flaws) = scene.judge();
    let problem = "is one of log 0d4e5f, and its entries are those of 0a1b2c";
    assert_eq!(flaws[0].problem, problem);
}

#[test]
fn restores_beyond_the_bound_are_not_kept() {
    let mut keys = Keys::default();
    let mut census = Census::new(&mut keys);
    for index in 0..150 {
        let id = LOG_ID + u32::try_from(index).unwrap();
        let restored = What::Restored(Restored {
            epoch: index,
            backup_size: index,
            log_id: id + 1,
            previous_log_id: id,
        });
        census.add(index, &entry(restored)).unwrap();
    }
    assert_eq!(census.restores.len(), 100);
    assert_eq!(census.log_id, Some(LOG_ID + 150));
}
