use crate::tree::{RightEdge, leaf_hash};

use super::*;

pub(super) fn root(size: u64) -> crate::Hash {
    let (mut edge, mut full) = (RightEdge::default(), Vec::new());
    (0..size).for_each(|index| edge.push(leaf_hash(&body(index)), &mut full));
    edge.root()
}

pub(super) fn checkpoint(scene: &Scene) -> crate::note::Checkpoint {
    let key = NoteKey::open(&scene.options().key, "example.org/log").unwrap();
    let note = fs::read(scene.dir().join("checkpoint")).unwrap();
    crate::note::Checkpoint::open(&note, &key).unwrap()
}

pub(super) fn files_in(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names.extend(files_in(&path));
        } else {
            names.push(path.display().to_string());
        }
    }
    names.sort();
    names
}

#[tokio::test]
async fn checkpoint_covers_what_was_durable() {
    let scene = Scene::new();
    let log = scene.open();
    log.publish(at(0)).unwrap();
    assert!(!scene.dir().join("checkpoint").exists());
    for size in [1, 2, 255, 256, 257, 600, 4096, 4500] {
        fill(&log, size - log.size()).await;
        log.publish(at(0)).unwrap();
        let checkpoint = checkpoint(&scene);
        assert_eq!((checkpoint.size, checkpoint.root), (size, root(size)));
        assert_eq!(log.published(), size);
        assert_holds(&log, 0, size);
    }
    drop(log);
    assert_holds(&scene.open(), 0, 4500);
}

#[tokio::test]
async fn only_the_tiles_of_the_newest_tree_are_left() {
    let scene = Scene::new();
    let log = scene.open();
    for _ in 0..50 {
        fill(&log, 91).await;
        log.publish(at(0)).unwrap();
    }
    let tiles = files_in(&scene.dir().join("tile")).len();
    // 4550 entries: 18 tiles and bundles, the last of each partial, and one tile above.
    assert_eq!(tiles, 18 + 18 + 1);
    assert_eq!(files_in(&scene.dir().join("journal")).len(), 1);
    assert_eq!(files_in(&scene.dir().join("checkpoints")).len(), 1);
}

#[tokio::test]
async fn checkpoints_are_kept_at_opens_and_hourly() {
    let scene = Scene::new();
    for opened in 0..2 {
        let log = scene.open();
        for quarter in 0..9 {
            append(&log).await.unwrap();
            let now = at(opened * 10) + SignedDuration::from_mins(15 * quarter);
            log.publish(now).unwrap();
        }
    }
    let mut kept: Vec<u64> = files_in(&scene.dir().join("checkpoints"))
        .iter()
        .map(|path| path.rsplit('/').next().unwrap().parse().unwrap())
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [1, 5, 9, 10, 14, 18]);
}

#[tokio::test]
async fn publication_goes_on_beside_appends() {
    let scene = Scene::new();
    let log = Arc::new(scene.open());
    let publishing = log.clone();
    let publisher = tokio::task::spawn_blocking(move || {
        while publishing.published() < 3000 {
            publishing.publish(at(0)).unwrap();
        }
    });
    for _ in 0..100 {
        fill(&log, 30).await;
    }
    publisher.await.unwrap();
    assert_eq!(checkpoint(&scene).root, root(3000));
    assert_holds(&log, 0, 3000);
}

#[tokio::test]
async fn pruning_takes_bodies_and_leaves_proofs() {
    let scene = Scene::new();
    let log = scene.open();
    fill(&log, 9000).await;
    log.attach(10, b"old").unwrap();
    assert_eq!(log.prune(9000).unwrap(), 0, "no checkpoint covers them");
    log.publish(at(0)).unwrap();
    assert_eq!(log.prune(700).unwrap(), 512);
    assert_holds(&log, 512, 9000);
    assert!(log.entry(511).unwrap().is_none());
    assert_eq!(log.prune(300).unwrap(), 512, "never grows back");
    drop(log);
    let log = scene.open();
    assert_eq!(log.first_retained(), 512);
    assert_eq!(log.prune(u64::MAX).unwrap(), 8192);
    assert_holds(&log, 8192, 9000);
    assert_eq!(checkpoint(&scene).root, root(9000));
    assert_eq!(crate::inclusion(&scene.dir(), 3, 9000).unwrap().len(), 14);
    fill(&log, 100).await;
    log.publish(at(0)).unwrap();
    assert_eq!(checkpoint(&scene).root, root(9100));
}

#[tokio::test]
async fn another_origin_or_key_is_refused() {
    let scene = Scene::new();
    let log = scene.open();
    append(&log).await.unwrap();
    log.publish(at(0)).unwrap();
    drop(log);
    let renamed = Options {
        origin: "example.org/other".to_owned(),
        ..scene.options()
    };
    let rekeyed = Options {
        key: scene.folder.path().join("other.key"),
        ..scene.options()
    };
    for other in [renamed, rekeyed] {
        let opened = Log::open(&other);
        assert!(matches!(opened, Err(LogError::Foreign(_))), "{opened:?}");
    }
    let unfit = Options {
        origin: "two words".to_owned(),
        ..scene.options()
    };
    assert!(matches!(Log::open(&unfit), Err(LogError::Foreign(_))));
    assert_holds(&scene.open(), 0, 1);
}

#[tokio::test]
async fn key_is_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    let log = scene.open();
    append(&log).await.unwrap();
    log.publish(at(0)).unwrap();
    let vkey = fs::read_to_string(scene.dir().join("key.vkey")).unwrap();
    assert_eq!(vkey.trim_end(), log.verifier_key());
    let mut paths = files_in(&scene.dir());
    paths.push(scene.options().key.display().to_string());
    for path in paths {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

/// Copies what belongs to a snapshot.
fn copy(snapshot: &Snapshot, from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(snapshot, &path, &target);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        if let Some(length) = snapshot.length(&path) {
            bytes.truncate(usize::try_from(length).unwrap());
        }
        fs::write(target, bytes).unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_opens_however_late_it_is_copied() {
    let (scene, copied) = (Scene::new(), Scene::new());
    let log = Arc::new(scene.open());
    fill(&log, 9000).await;
    log.publish(at(0)).unwrap();
    log.prune(5000).unwrap();
    fill(&log, 50).await;
    let (size, links) = (log.size(), scene.folder.path().join("links"));
    let (held, to) = (log.clone(), links.clone());
    let linking = tokio::task::spawn_blocking(move || held.snapshot(&to).unwrap());
    while !linking.is_finished() {
        let index = append(&log).await.unwrap();
        log.attach(index, b"signed").unwrap();
        log.publish(at(1)).unwrap();
    }
    let (snapshot, most) = (linking.await.unwrap(), log.size());
    // The log goes on: its right edge moves, segments and bundles go, signatures are added.
    fill(&log, 9000).await;
    log.attach(log.size() - 1, b"signed").unwrap();
    log.publish(at(2)).unwrap();
    log.prune(12_000).unwrap();
    append(&log).await.unwrap();

    copy(&snapshot, snapshot.folder(), &copied.dir());
    fs::copy(scene.options().key, copied.options().key).unwrap();
    let there = copied.open();
    assert!((size..=most).contains(&there.size()), "{}", there.size());
    assert_eq!(there.first_retained(), 4864);
    assert_holds(&there, 4864, there.size());
    append(&there).await.unwrap();
    there.publish(at(3)).unwrap();
    assert_eq!(there.published(), there.size());
}

#[tokio::test]
async fn a_new_log_has_a_snapshot() {
    let (scene, copied) = (Scene::new(), Scene::new());
    let log = scene.open();
    append(&log).await.unwrap();
    let snapshot = log.snapshot(&scene.folder.path().join("links")).unwrap();
    copy(&snapshot, snapshot.folder(), &copied.dir());
    fs::copy(scene.options().key, copied.options().key).unwrap();
    let there = copied.open();
    assert_holds(&there, 0, 1);
}

#[tokio::test]
async fn a_snapshot_over_another_touches_no_log() {
    let scene = Scene::new();
    let log = scene.open();
    fill(&log, 300).await;
    log.publish(at(0)).unwrap();
    let links = scene.folder.path().join("links");
    log.snapshot(&links).unwrap();
    let refused = log.snapshot(&links).unwrap_err();
    assert!(matches!(refused, LogError::Refused(_)), "{refused}");
    assert_holds(&log, 0, 300);
    drop(log);
    assert_holds(&scene.open(), 0, 300);
}
