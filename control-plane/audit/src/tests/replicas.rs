//! The logs of several replicas, judged together.

use countersign_logs::Replicas;
use countersign_logs::replicas::{self, joined, sealed};
use countersign_tlog::{Log, Options};

use super::*;
use crate::{Missing, Verdict};

fn audit(replicas: &Replicas, names: &[&str]) -> Audit {
    Audit {
        logs: names.iter().map(|name| replicas.path(name)).collect(),
        ..Audit::default()
    }
}

fn judge(replicas: &Replicas, names: &[&str]) -> Verdict {
    audit(replicas, names).judge(&|_, _| ()).unwrap()
}

/// The one thing that is wrong.
fn wrong(verdict: &Verdict) -> &Flaw {
    let [flaw] = &verdict.flaws[..] else {
        panic!("{verdict:?}");
    };
    assert!(!verdict.sound);
    flaw
}

#[test]
fn logs_of_all_replicas_are_sound_together() {
    let replicas = Replicas::new();
    let verdict = judge(&replicas, &["a", "b", "c"]);
    assert_eq!((&verdict.flaws, verdict.sound), (&vec![], true));
    assert_eq!(verdict.missing, []);
    let [a, b, c] = &verdict.logs[..] else {
        panic!("{verdict:?}");
    };
    assert_eq!(a.seals[0].log_id, *b.log_id.as_ref().unwrap());
    assert_eq!(a.seals[0].root_hash, b.root_hash);
    assert_eq!((a.seals[0].size, b.size), (300, 300));
    assert_eq!(a.joined[1].log_id, *c.log_id.as_ref().unwrap());
}

/// What was kept of the lost replica is a beginning of what another one sealed.
#[test]
fn kept_checkpoint_of_a_lost_replica_counts() {
    let replicas = Replicas::new();
    let text = |name: &str| fs::read_to_string(replicas.path(name)).unwrap();
    let mut audit = audit(&replicas, &["b"]);
    audit.checkpoints = vec![replicas.path("b.checkpoint")];
    audit.keys = vec![text("b/key.vkey"), text("b.vkey")];
    let verdict = audit.judge(&|_, _| ()).unwrap();
    assert_eq!((&verdict.flaws, verdict.sound), (&vec![], true));
    assert_eq!(verdict.logs[0].checkpoints, 3);
    audit.keys.pop();
    assert!(!audit.judge(&|_, _| ()).unwrap().sound, "whose it is");
}

#[test]
fn kept_checkpoint_counts_for_its_own_log() {
    let replicas = Replicas::new();
    let mut audit = audit(&replicas, &["a", "b", "c"]);
    audit.keys = ["a/key.vkey", "b/key.vkey", "c/key.vkey", "b.vkey"]
        .map(|name| replicas.path(name).display().to_string())
        .to_vec();
    audit.checkpoints = vec![replicas.path("b.checkpoint")];
    let verdict = audit.judge(&|_, _| ()).unwrap();
    assert_eq!((&verdict.flaws, verdict.sound), (&vec![], true));
    let judged: Vec<usize> = verdict.logs.iter().map(|log| log.checkpoints).collect();
    assert_eq!(judged, [2, 3, 2]);
    // The same size of another history, or more than there is, under the same name and key.
    let forged = |size: u64, path: &str| {
        let scene = Scene::new();
        let options = Options {
            key: replicas.path("b.key"),
            dir: scene.dir(),
            ..replicas.options("b")
        };
        let log = Log::open(&options).unwrap();
        scene.fill(&log, size);
        log.publish(at(0)).unwrap();
        fs::copy(scene.dir().join("checkpoint"), replicas.path(path)).unwrap();
        replicas.path(path)
    };
    for (size, told) in [
        (200, "the first 200 entries of"),
        (301, "only the first 300"),
    ] {
        audit.checkpoints = vec![forged(size, "forged")];
        let verdict = audit.judge(&|_, _| ()).unwrap();
        assert!(wrong(&verdict).problem.contains(told), "{verdict:?}");
    }
    audit.keys.pop();
    audit.checkpoints = vec![replicas.path("b.checkpoint")];
    let verdict = audit.judge(&|_, _| ()).unwrap();
    assert!(
        wrong(&verdict).problem.contains("is not signed by"),
        "{verdict:?}"
    );
    // Without keys, the one beside each log counts.
    audit.keys.clear();
    audit.checkpoints = vec![replicas.path("c/checkpoint")];
    assert!(audit.judge(&|_, _| ()).unwrap().sound);
    let mut others = self::audit(&replicas, &["a", "c"]);
    others.keys = ["a/key.vkey", "c/key.vkey", "b.vkey"]
        .map(|name| replicas.path(name).display().to_string())
        .to_vec();
    others.checkpoints = vec![replicas.path("b.checkpoint")];
    let verdict = others.judge(&|_, _| ()).unwrap();
    assert!(
        wrong(&verdict).problem.contains("none of the logs"),
        "{verdict:?}"
    );
}

#[test]
fn kept_checkpoint_from_before_a_restore_counts_among_several() {
    let (restore, other) = (Restore::new(), Scene::new());
    let log = other.open();
    other.append(&log, |_| replicas::opened(LOG_ID + 9));
    log.publish(at(0)).unwrap();
    let new = restore
        .options("new", countersign_logs::restore::NEXT_ID)
        .dir;
    let keys = [
        other.dir().join("key.vkey"),
        restore.new_key(),
        restore.path("old.vkey"),
    ];
    let mut audit = Audit {
        logs: vec![other.dir(), new],
        keys: keys.map(|path| path.display().to_string()).to_vec(),
        checkpoints: vec![restore.path("200")],
    };
    let verdict = audit.judge(&|_, _| ()).unwrap();
    assert_eq!((&verdict.flaws, verdict.sound), (&vec![], true));
    audit.checkpoints = vec![restore.path("310")];
    let verdict = audit.judge(&|_, _| ()).unwrap();
    assert!(
        wrong(&verdict).problem.contains("only the first 300"),
        "{verdict:?}"
    );
}

#[test]
fn logs_that_were_not_given_are_named() {
    let replicas = Replicas::new();
    let verdict = judge(&replicas, &["a"]);
    assert!(verdict.sound);
    let named = |it: &Missing| (it.replica.clone(), it.log_id.clone(), it.index);
    let named: Vec<_> = verdict.missing.iter().map(named).collect();
    let id = |past| format!("{:06x}", LOG_ID + past);
    let expected = [("b".to_owned(), id(1), 2), ("c".to_owned(), id(2), 3)];
    assert_eq!(named, expected);
    let verdict = judge(&replicas, &["c", "a"]);
    let named: Vec<&str> = verdict.missing.iter().map(|it| &*it.log_id).collect();
    assert_eq!(named, [id(1)]);
    replicas.append("c", &sealed(LOG_ID + 77, 1, &[7; 32]));
    let verdict = judge(&replicas, &["c"]);
    assert_eq!(verdict.missing[0].log_id, id(77), "a seal names it too");
}

#[test]
fn log_that_goes_on_after_its_seal_is_found() {
    let mut replicas = Replicas::new();
    replicas.seal_more(refused("after the seal"));
    let verdict = judge(&replicas, &["a", "b", "c"]);
    let flaw = wrong(&verdict);
    assert_eq!(
        flaw.file,
        replicas.path("b/checkpoint").display().to_string()
    );
    assert!(flaw.problem.contains("goes on after its seal"), "{flaw:?}");
    assert!(judge(&replicas, &["b", "c"]).sound, "each by itself is");
}

#[test]
fn log_that_is_not_the_sealed_one_is_found() {
    for (size, root, told) in [
        (301, [7; 32], "entries, and"),
        (300, [7; 32], "its root hash is another"),
    ] {
        let replicas = Replicas::new();
        replicas.append("c", &sealed(LOG_ID + 1, size, &root));
        let verdict = judge(&replicas, &["b", "c"]);
        assert!(wrong(&verdict).problem.contains(told), "{verdict:?}");
        // Both seals say that the other is wrong, whether the log is given or not.
        let verdict = judge(&replicas, &["a", "c"]);
        let differ = |flaw: &Flaw| flaw.problem.contains("another entry does otherwise");
        assert_eq!(verdict.flaws.iter().filter(|it| differ(it)).count(), 2);
    }
}

#[test]
fn log_id_is_given_once() {
    let replicas = Replicas::new();
    let verdict = judge(&replicas, &["c", "c"]);
    assert!(wrong(&verdict).problem.contains("is log 0a1b2e, as"));
}

/// A log and what was restored from its backup have entries in common.
#[test]
fn restored_log_and_the_one_before_are_no_doubles() {
    let restore = Restore::new();
    let of = |name: &str, id| restore.options(name, id).dir;
    let next = countersign_logs::restore::NEXT_ID;
    let (old, new) = (of("old", LOG_ID), of("new", next));
    let judge = |logs: [&PathBuf; 2]| {
        let audit = Audit {
            logs: logs.map(Clone::clone).to_vec(),
            ..Audit::default()
        };
        audit.judge(&|_, _| ()).unwrap()
    };
    for logs in [[&old, &new], [&new, &old]] {
        let verdict = judge(logs);
        assert_eq!((&verdict.flaws, verdict.sound), (&vec![], true));
    }
    // Another log of the same id: what was restored does not go on from that.
    let other = Scene::new();
    let log = other.open();
    other.append(&log, |_| opened());
    other.append(&log, |_| refused("another"));
    other.fill(&log, 310);
    log.publish(at(0)).unwrap();
    let verdict = judge([&other.dir(), &new]);
    assert!(
        wrong(&verdict).problem.contains("and has others"),
        "{verdict:?}"
    );
}

#[test]
fn keys_of_several_logs_come_in_their_order() {
    let replicas = Replicas::new();
    let key = |name: &str| replicas.path(name).join("key.vkey").display().to_string();
    let with = |keys: &[&str]| {
        let mut audit = audit(&replicas, &["a", "b", "c"]);
        audit.keys = keys.iter().map(|name| key(name)).collect();
        audit.judge(&|_, _| ())
    };
    let verdict = with(&["a", "b", "c"]).unwrap();
    assert!(verdict.sound && verdict.logs.iter().all(|log| log.authentic));
    assert!(!with(&["b", "a", "c"]).unwrap().sound);
    let few = with(&["a", "b"]);
    let (keys, logs) = (2, 3);
    assert!(
        matches!(few, Err(AuditError::TooFewKeys { keys: k, logs: l }) if (k, l) == (keys, logs)),
        "{few:?}"
    );
}

#[test]
fn log_that_names_others_wrongly_is_found() {
    for (entry, told) in [
        (sealed(LOG_ID + 1, 300, b"short"), "a root hash of 5 bytes"),
        (sealed(LOG_ID + 2, 300, &[7; 32]), "names its own log"),
        (joined(LOG_ID + 2, "c"), "names its own log"),
    ] {
        let replicas = Replicas::new();
        replicas.append("c", &entry);
        let verdict = judge(&replicas, &["c"]);
        let flaw = wrong(&verdict);
        assert_eq!(flaw.index, Some(20));
        assert!(flaw.problem.contains(told), "{flaw:?}");
    }
}

#[test]
fn logs_that_one_names_are_bounded() {
    let mut keys = Keys::default();
    let mut census = Census::new(&mut keys);
    for index in 0..1_000 {
        let id = LOG_ID + u32::try_from(index).unwrap();
        census.add(index, &joined(id, "b")).unwrap();
    }
    let refused = census.add(1_000, &joined(LOG_ID, "b")).unwrap_err();
    assert!(refused.contains("more than 1000"), "{refused}");
}
