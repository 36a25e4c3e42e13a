//! What is found on the disk is not what was written.

use super::*;

/// A log of `batches` batches of three entries, closed.
async fn closed(scene: &Scene, batches: u64) {
    let log = scene.open();
    for _ in 0..batches {
        // Ready at once, so that they wait together while the writer sleeps or writes.
        fill(&log, 3).await;
    }
}

fn segment(scene: &Scene) -> PathBuf {
    scene.dir().join("journal/0")
}

fn outcome(scene: &Scene) -> Result<u64, LogError> {
    let log = Log::open(&scene.options())?;
    let size = log.size();
    if size > 0 {
        assert_holds(&log, 0, size);
    }
    Ok(size)
}

#[tokio::test]
async fn an_unfinished_write_is_cut_off_wherever_it_ends() {
    let scene = Scene::new();
    closed(&scene, 1).await;
    let whole = fs::read(segment(&scene)).unwrap();
    let mut sizes = Vec::new();
    for end in 0..whole.len() {
        fs::write(segment(&scene), &whole[..end]).unwrap();
        sizes.push(outcome(&scene).unwrap());
        let mut zeros = whole[..end].to_vec();
        zeros.resize(whole.len() + 10, 0);
        fs::write(segment(&scene), &zeros).unwrap();
        assert_eq!(outcome(&scene).unwrap(), sizes[end]);
    }
    assert!(sizes.is_sorted());
    assert_eq!((sizes[0], sizes[whole.len() - 1]), (0, 2));
    let log = scene.open();
    let size = log.size();
    fill(&log, 2).await;
    assert_holds(&log, 0, size + 2);
}

#[tokio::test]
async fn a_flipped_byte_before_the_last_batch_is_named() {
    let scene = Scene::new();
    let log = scene.open();
    for _ in 0..4 {
        append(&log).await.unwrap();
    }
    drop(log);
    let whole = fs::read(segment(&scene)).unwrap();
    let last = whole.len() - (whole.len() / 4);
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x04;
        fs::write(segment(&scene), &flipped).unwrap();
        match outcome(&scene) {
            Err(LogError::Damaged(what)) => assert!(what.contains("journal/0 at byte"), "{what}"),
            other => assert!(at >= last - 4 && other.is_ok(), "byte {at}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_once_acknowledged_is_never_cut_off() {
    let scene = Scene::new();
    let log = scene.open();
    for index in 0..4 {
        append(&log).await.unwrap();
        log.attach(index, b"signed").unwrap();
    }
    drop(log);
    let whole = fs::read(segment(&scene)).unwrap();
    for end in 0..whole.len() {
        fs::write(segment(&scene), &whole[..end]).unwrap();
        let outcome = outcome(&scene);
        assert!(
            matches!(outcome, Err(LogError::Damaged(_))),
            "{end}: {outcome:?}"
        );
    }
    fs::remove_file(segment(&scene)).unwrap();
    assert!(matches!(outcome(&scene), Err(LogError::Damaged(_))));
}

#[tokio::test]
async fn published_entries_are_not_cut_off_either() {
    let scene = Scene::new();
    let log = scene.open();
    append(&log).await.unwrap();
    log.publish(at(0)).unwrap();
    drop(log);
    let whole = fs::read(segment(&scene)).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        fs::write(segment(&scene), &flipped).unwrap();
        let outcome = outcome(&scene);
        assert!(
            matches!(outcome, Err(LogError::Damaged(_))),
            "{at}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn damaged_or_missing_files_are_named_at_open() {
    let scene = Scene::new();
    let log = scene.open();
    fill(&log, 5000).await;
    log.publish(at(0)).unwrap();
    drop(log);
    for name in [
        "tile/0/019.p/136",
        "tile/1/000.p/19",
        "checkpoint",
        "journal/4096",
    ] {
        let path = scene.dir().join(name);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        fs::write(&path, &flipped).unwrap();
        let found = outcome(&scene).unwrap_err().to_string();
        assert!(found.contains(name), "{found}");
        fs::remove_file(&path).unwrap();
        let found = outcome(&scene).unwrap_err().to_string();
        assert!(found.contains(name), "{found}");
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(outcome(&scene).unwrap(), 5000);
}

#[tokio::test]
async fn a_journal_that_contradicts_its_tiles_is_refused() {
    let (scene, other) = (Scene::new(), Scene::new());
    for (scene, first) in [(&scene, "one"), (&other, "two")] {
        let log = scene.open();
        let entry = log.append(|_| Ok::<_, Infallible>(first.as_bytes().to_vec()));
        entry.await.unwrap();
        log.publish(at(0)).unwrap();
    }
    fs::copy(segment(&other), segment(&scene)).unwrap();
    let opened = Log::open(&scene.options());
    assert!(
        matches!(&opened, Err(LogError::Damaged(what)) if what.contains("contradicts")),
        "{opened:?}"
    );
}
