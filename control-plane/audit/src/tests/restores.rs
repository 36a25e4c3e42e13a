//! What an auditor kept before a restore still counts.

use countersign_logs::restore::{NEXT_ID, origin};
use countersign_proto::log::Restored;
use countersign_tlog::{Log, Options};

use super::*;

/// Judges the restored log by these keys and one kept checkpoint.
fn judge(restore: &Restore, keys: &[&Path], checkpoint: &Path) -> (Report, Vec<Flaw>) {
    let folder = Folder::new(&restore.options("new", NEXT_ID).dir);
    let keys = keys.iter().map(|key| key.to_str().unwrap());
    let keys = LogKeys::open(keys, &folder).unwrap();
    let given = [checkpoint.to_owned()];
    let mut seen = Keys::default();
    let (report, flaws) = verify(&folder, &keys, &given, &mut seen, &|_, _| ()).unwrap();
    (report.unwrap(), flaws)
}

#[test]
fn a_checkpoint_from_before_a_restore_still_counts() {
    let restore = Restore::new();
    let (new, old) = (restore.new_key(), restore.path("old.vkey"));
    let (report, flaws) = judge(&restore, &[&new, &old], &restore.path("200"));
    assert_eq!((flaws, report.origin), (vec![], origin(NEXT_ID)));
    assert_eq!(report.goes_on_from[0].log_id, format!("{LOG_ID:06x}"));
    assert_eq!(report.goes_on_from[0].entries, 300);
    // The last one of the log before lies beside the restored one.
    let beside = restore.path("before/checkpoint");
    assert_eq!(judge(&restore, &[&new, &old], &beside).1, []);
}

#[test]
fn what_a_restore_left_behind_is_told() {
    let restore = Restore::new();
    let (new, old) = (restore.new_key(), restore.path("old.vkey"));
    let (_, flaws) = judge(&restore, &[&new, &old], &restore.path("310"));
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
    let (_, flaws) = judge(&restore, &[&new], &restore.path("200"));
    assert!(flaws[0].problem.contains("--key"), "{flaws:?}");
    // Another history under the same name and key is none that the log goes on from.
    let forged = restore.options("forged", LOG_ID);
    fs::copy(restore.options("old", LOG_ID).key, &forged.key).unwrap();
    let log = Log::open(&forged).unwrap();
    restore.scene.append(&log, |_| refused("forged"));
    restore.scene.fill(&log, 200);
    log.publish(at(0)).unwrap();
    let (_, flaws) = judge(&restore, &[&new, &old], &forged.dir.join("checkpoint"));
    let expected = "its root hash is not that of the first 200 entries";
    assert_eq!(flaws[0].problem, expected);
    // One that says it was signed, and was not.
    let note = fs::read_to_string(restore.path("200")).unwrap();
    let flipped = note.replacen("\n200\n", "\n201\n", 1);
    fs::write(restore.path("flipped"), flipped).unwrap();
    let (_, flaws) = judge(&restore, &[&new, &old], &restore.path("flipped"));
    assert!(flaws[0].problem.contains("is not signed by"), "{flaws:?}");
}

#[test]
fn log_before_a_restore_is_not_taken_for_the_restored() {
    let restore = Restore::new();
    let old = restore.options("old", LOG_ID).dir;
    let keys = [restore.new_key(), restore.path("old.vkey")];
    let [newer, older] = [&keys[0], &keys[1]].map(|path| path.display().to_string());
    let folder = Folder::new(&old);
    let known = LogKeys::open([&*newer, &*older], &folder).unwrap();
    let mut seen = Keys::default();
    let (report, flaws) = verify(&folder, &known, &[], &mut seen, &|_, _| ()).unwrap();
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
