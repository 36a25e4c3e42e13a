//! Sound logs are sound, and what no honest log says is named.

use super::*;

#[test]
fn a_sound_log_is_sound_at_every_size() {
    let scene = Scene::new();
    let log = scene.open();
    for (hour, size) in (0..).zip([1, 2, 255, 256, 257, 511, 700]) {
        scene.fill(&log, size);
        log.publish(at(hour)).unwrap();
        let (report, flaws) = scene.judge();
        let report = report.unwrap();
        assert_eq!(flaws, [], "{size}");
        assert_eq!(report.size, size);
        assert_eq!(report.kinds.get("refused").copied().unwrap_or(0), size - 1);
        assert_eq!(report.log_id.as_deref(), Some("0a1b2c"));
        assert_eq!(report.checkpoints as i64, 2 + hour);
        assert!(!report.authentic);
    }
}

#[test]
fn a_log_that_goes_on_meanwhile_is_sound() {
    let scene = Scene::new();
    let log = scene.open();
    scene.fill(&log, 10);
    log.publish(at(0)).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            for round in 0..60 {
                for n in 0..17 {
                    let made = refused(&format!("{round}.{n}"));
                    runtime
                        .block_on(log.append(|_| Ok::<_, Infallible>(made)))
                        .unwrap();
                }
                log.publish(at(round)).unwrap();
            }
        });
        while !writer.is_finished() {
            assert_eq!(scene.judge().1, []);
        }
    });
    assert_eq!(scene.judge().0.unwrap().size, 10 + 60 * 17);
}

#[test]
fn a_pruned_log_says_where_bodies_begin() {
    let scene = Scene::new();
    let log = scene.open();
    scene.fill(&log, 9000);
    log.publish(at(0)).unwrap();
    assert_eq!(log.prune(5000).unwrap(), 4864);
    let (report, flaws) = scene.judge();
    let report = report.unwrap();
    assert_eq!((flaws, report.first_retained), (vec![], 4864));
    assert_eq!(report.kinds["refused"], 9000 - 4864);
    // Without their bodies, tiles still hold each other.
    let tile = scene.dir().join("tile/0/003");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[100] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let (_, flaws) = scene.judge();
    assert_eq!(flaws[0].file, scene.path("tile/0/003"));
}

#[test]
fn a_serial_that_names_another_place_is_named() {
    for wrong in [serial(2), Serial::new(LOG_ID + 1, 1, [9; 8]).unwrap()] {
        let scene = Scene::new();
        let log = scene.open();
        let key = KeyPair::generate().unwrap();
        scene.append(&log, |_| opened());
        scene.append(&log, |_| issued(&key, "spiffe://example.org/web", wrong));
        log.publish(at(0)).unwrap();
        let (_, flaws) = scene.judge();
        let [flaw] = &flaws[..] else {
            panic!("{flaws:?}")
        };
        assert_eq!(flaw.index, Some(1));
        assert!(
            flaw.problem.contains(&wrong.to_string()),
            "{}",
            flaw.problem
        );
    }
}

#[test]
fn what_is_no_entry_is_named_and_unknown_kinds_are_counted() {
    let scene = Scene::new();
    let log = scene.open();
    scene.append(&log, |_| opened());
    // Field 99, varint 1: a kind of a later version.
    scene.append(&log, |_| vec![0x98, 0x06, 0x01]);
    scene.append(&log, |_| vec![0xff; 9]);
    scene.append(&log, |_| opened());
    log.publish(at(0)).unwrap();
    let (report, flaws) = scene.judge();
    assert_eq!(report.unwrap().kinds["unknown"], 1);
    let named: Vec<Option<u64>> = flaws.iter().map(|flaw| flaw.index).collect();
    assert_eq!(named, [Some(2), Some(3)]);
}

#[test]
fn what_is_voided_comes_first() {
    let scene = Scene::new();
    let log = scene.open();
    let voided = |index| entry(What::Voided(Voided { index }));
    scene.append(&log, |_| opened());
    scene.append(&log, |_| refused("a"));
    scene.append(&log, |_| voided(1));
    scene.append(&log, voided);
    scene.append(&log, |_| voided(9));
    log.publish(at(0)).unwrap();
    let (report, flaws) = scene.judge();
    assert_eq!(report.unwrap().kinds["voided"], 3);
    let named: Vec<Option<u64>> = flaws.iter().map(|flaw| flaw.index).collect();
    assert_eq!(named, [Some(3), Some(4)], "{flaws:?}");
}

#[test]
fn one_key_for_two_identities_is_found_across_logs() {
    let (here, there) = (Scene::new(), Scene::new());
    let (shared, own) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    for (scene, id, log_id) in [(&here, "web", LOG_ID), (&there, "db", LOG_ID + 1)] {
        let log = scene.open();
        let serial = |index| Serial::new(log_id, index, [9; 8]).unwrap();
        let id = format!("spiffe://example.org/{id}");
        for key in [&shared, &shared] {
            scene.append(&log, |index| issued(key, &id, serial(index)));
        }
        scene.append(&log, |index| {
            issued(&own, "spiffe://example.org/own", serial(index))
        });
        log.publish(at(0)).unwrap();
        drop(log);
    }
    let mut keys = Keys::default();
    assert_eq!(here.judge_with(&[], &mut keys).1, []);
    assert_eq!(keys.shared, []);
    assert_eq!(there.judge_with(&[], &mut keys).1, []);
    let named: Vec<[Serial; 2]> = keys.shared.iter().map(|shared| shared.serials).collect();
    let theirs = |index| Serial::new(LOG_ID + 1, index, [9; 8]).unwrap();
    assert_eq!(named, [[serial(0), theirs(0)], [serial(0), theirs(1)]]);
    assert_eq!(keys.shared[0].id, "spiffe://example.org/db");
}

/// Whoever holds the log's key may write another history, but not one that goes on from what an
/// auditor kept.
#[test]
fn a_rewritten_history_contradicts_a_kept_checkpoint() {
    let (scene, kept) = (Scene::new(), tempfile::tempdir().unwrap());
    let log = scene.open();
    scene.fill(&log, 300);
    log.publish(at(0)).unwrap();
    drop(log);
    let kept = kept.path().join("kept");
    fs::copy(scene.dir().join("checkpoint"), &kept).unwrap();
    let given = [kept.clone()];
    assert_eq!(scene.judge_with(&given, &mut Keys::default()).1, []);

    fs::remove_dir_all(scene.dir()).unwrap();
    let log = scene.open();
    scene.fill(&log, 299);
    log.publish(at(0)).unwrap();
    let (_, flaws) = scene.judge_with(&given, &mut Keys::default());
    assert_eq!(flaws[0].problem, "has 300 entries, the log only 299");
    scene.append(&log, |_| refused("another"));
    scene.fill(&log, 400);
    log.publish(at(0)).unwrap();
    assert_eq!(scene.judge().1, []);
    let (_, flaws) = scene.judge_with(&given, &mut Keys::default());
    assert_eq!(flaws[0].file, kept.display().to_string());
    assert!(flaws[0].problem.contains("first 300 entries"), "{flaws:?}");
}

#[test]
fn a_log_under_another_key_is_refused() {
    let (scene, other) = (Scene::new(), Scene::new());
    for scene in [&scene, &other] {
        let log = scene.open();
        scene.fill(&log, 3);
        log.publish(at(0)).unwrap();
    }
    let mut audit = Audit::of(&scene.dir());
    audit.keys = vec![other.path("key.vkey")];
    assert!(!audit.judge(&|_, _| ()).unwrap().sound);
    audit.keys = vec![fs::read_to_string(scene.path("key.vkey")).unwrap()];
    assert!(audit.judge(&|_, _| ()).unwrap().sound);
    let missing = Audit::of(Path::new("/nowhere")).judge(&|_, _| ());
    assert!(
        matches!(missing, Err(AuditError::NoCheckpoint { .. })),
        "{missing:?}"
    );
}
