//! What a disk lacks is taken from the archive.

use super::*;

fn bodies(count: u64) -> Memory {
    Memory::holding((0..count).map(body))
}

fn outcome(scene: &Scene, archive: &Memory) -> Result<u64, LogError> {
    Log::open_with(&scene.options(), archive.boxed()).map(|log| log.size())
}

#[tokio::test]
async fn empty_disk_gets_the_whole_log() {
    for count in [0, 1, 6, 7, 8, 4095, 4096, 4097, 9000] {
        let (scene, archive) = (Scene::new(), bodies(count));
        archive.held().page = if count < 9 { 7 } else { 700 };
        let log = scene.open_with(&archive);
        assert_eq!(append(&log).await.unwrap(), count);
        assert_holds(&log, 0, count + 1);
        log.publish(at(0)).unwrap();
        assert_eq!(checkpoint(&scene).root, published::root(count + 1));
        drop(log);
        assert_holds(&scene.open(), 0, count + 1);
    }
}

/// More than the journal holds before there is a checkpoint.
#[tokio::test]
async fn long_log_is_published_while_it_is_healed() {
    const LONG: u64 = 20 * journal::SEGMENT_ENTRIES + 100;
    let (scene, archive) = (Scene::new(), bodies(LONG));
    archive.held().page = 3000;
    let log = scene.open_with(&archive);
    assert!(log.published() >= 15 * journal::SEGMENT_ENTRIES);
    assert!(files_in(&scene.dir().join("journal")).len() <= 6);
    assert_eq!(files_in(&scene.dir().join("checkpoints")).len(), 0);
    assert_holds(&log, 0, LONG);
    log.publish(at(0)).unwrap();
    assert_eq!(checkpoint(&scene).root, published::root(LONG));
}

/// A folder that was put back, in every state of its journal and its tiles.
#[tokio::test]
async fn older_folder_gets_what_came_later() {
    for (before, is_published) in [(1, false), (300, true), (4096, true), (5000, false)] {
        let (scene, archive) = (Scene::new(), bodies(before));
        archive.held().page = 300;
        let log = scene.open_with(&archive);
        if is_published {
            log.publish(at(0)).unwrap();
            log.prune(u64::MAX).unwrap();
        }
        drop(log);
        archive.held().entries.extend((before..6000).map(body));
        let log = scene.open_with(&archive);
        let retained = log.first_retained();
        assert_holds(&log, retained, 6000);
        log.publish(at(0)).unwrap();
        assert_eq!(checkpoint(&scene).root, published::root(6000));
    }
}

#[tokio::test]
async fn archive_of_another_log_is_refused() {
    for (count, is_published) in [(1, false), (300, true), (4096, true)] {
        let (scene, archive) = (Scene::new(), bodies(count));
        archive.held().page = 300;
        let log = scene.open_with(&archive);
        if is_published {
            log.publish(at(0)).unwrap();
            log.prune(u64::MAX).unwrap();
        }
        drop(log);
        let other = Memory::holding((0..count + 9).map(|index| body(index + 1)));
        let refused = outcome(&scene, &other);
        assert!(matches!(refused, Err(LogError::Foreign(_))), "{refused:?}");
        assert_eq!(outcome(&scene, &archive).unwrap(), count, "nothing changed");
    }
}

#[tokio::test]
async fn archive_that_lost_entries_is_refused() {
    let (scene, archive) = (Scene::new(), bodies(10));
    drop(scene.open_with(&archive));
    archive.held().entries.truncate(7);
    let refused = outcome(&scene, &archive);
    let expected = matches!(
        refused,
        Err(LogError::ArchiveBehind {
            archive: 7,
            journal: 10
        })
    );
    assert!(expected, "{refused:?}");
    archive.held().entries = (0..20).map(body).collect();
    archive.held().lost_below = 12;
    let refused = outcome(&scene, &archive);
    assert!(matches!(refused, Err(LogError::Damaged(_))), "{refused:?}");
    archive.held().lost_below = 0;
    assert_eq!(outcome(&scene, &archive).unwrap(), 20);
}

#[tokio::test]
async fn disk_that_refuses_is_healed_later() {
    let (scene, archive) = (Scene::new(), bodies(30));
    for fault in [Fault::Begin, Fault::Write(100), Fault::Sync] {
        let script = Script::default();
        script.then(&[fault]);
        let opened = Log::open_on(&scene.options(), Some(archive.boxed()), |disk| Faulty {
            disk,
            script,
        });
        opened.unwrap_err();
    }
    assert_holds(&scene.open_with(&archive), 0, 30);
}

#[tokio::test]
async fn log_without_an_archive_gets_one() {
    let (scene, archive) = (Scene::new(), Memory::default());
    let log = scene.open();
    fill(&log, 3000).await;
    let refused = log.fill(&mut FailsOnce(archive.clone()));
    assert!(
        matches!(refused, Err(LogError::NotArchived(_))),
        "{refused:?}"
    );
    assert_eq!(archive.held().entries.len(), 1024);
    log.fill(&mut archive.clone()).unwrap();
    drop(log);
    assert!(
        archive
            .held()
            .entries
            .iter()
            .cloned()
            .eq((0..3000).map(body))
    );
    let log = scene.open_with(&archive);
    assert_eq!(append(&log).await.unwrap(), 3000);
}

/// Keeps one batch.
#[derive(Debug)]
struct FailsOnce(Memory);

impl Archive for FailsOnce {
    fn keep(&mut self, first: u64, entries: &[&[u8]]) -> Result<u64, NotKept> {
        let place = self.0.keep(first, entries)?;
        self.0.then(&[Refusal::Refused]);
        Ok(place)
    }

    fn end(&mut self) -> Result<u64, String> {
        self.0.end()
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, String> {
        self.0.page(from)
    }
}
