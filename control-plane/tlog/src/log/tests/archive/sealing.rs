//! The log of a replica whose disk is gone.

use tlog_tiles as library;

use super::*;
use crate::{Sealed, seal};

/// A log that was sealed, in a folder of its own under a key of its own.
struct Survivor {
    scene: Scene,
}

impl Survivor {
    fn new() -> Self {
        Self {
            scene: Scene::new(),
        }
    }

    fn seal(&self, archive: &Memory) -> Result<Sealed, LogError> {
        let sealed = seal(&self.scene.options(), &mut archive.clone(), &mut |_, _| {
            true
        });
        sealed.map(|it| it.expect("nobody ends it"))
    }

    /// Every tile and bundle.
    fn tiles(&self) -> Vec<(PathBuf, Vec<u8>)> {
        tiles(&self.scene)
    }
}

fn tiles(scene: &Scene) -> Vec<(PathBuf, Vec<u8>)> {
    let tiles = files_in(&scene.dir().join("tile")).into_iter().map(|path| {
        let path = PathBuf::from(path);
        let bytes = fs::read(&path).unwrap();
        (path.strip_prefix(scene.dir()).unwrap().to_owned(), bytes)
    });
    tiles.collect()
}

/// A page as large as a real archive has them.
fn bodies(count: u64) -> Memory {
    let memory = Memory::holding((0..count).map(body));
    memory.held().page = 500;
    memory
}

#[tokio::test]
async fn sealed_tree_is_the_one_of_the_replica() {
    for count in [1, 255, 256, 257, 4096, 4097, 9000] {
        let (scene, archive, survivor) = (Scene::new(), bodies(0), Survivor::new());
        let log = scene.open_with(&archive);
        fill(&log, count).await;
        log.publish(at(0)).unwrap();
        let sealed = survivor.seal(&archive).unwrap();
        assert_eq!((sealed.size, sealed.root), (count, published::root(count)));
        assert_eq!(survivor.tiles(), tiles(&scene), "{count}");
        let signed = checkpoint(&survivor.scene);
        assert_eq!((signed.size, signed.root), (count, sealed.root));
        assert_ne!(sealed.verifier_key, log.verifier_key());
        let kept = format!("checkpoints/{count}");
        assert!(survivor.scene.dir().join(kept).exists());
    }
}

#[tokio::test]
async fn sealed_tree_goes_on_from_kept_checkpoints() {
    let (scene, archive, survivor) = (Scene::new(), bodies(0), Survivor::new());
    let log = scene.open_with(&archive);
    let mut kept = Vec::new();
    for size in [1, 300, 512, 4095, 5000] {
        fill(&log, size - log.size()).await;
        log.publish(at(0)).unwrap();
        kept.push(checkpoint(&scene));
    }
    // Durable, and in no checkpoint of the replica.
    fill(&log, 77).await;
    let sealed = survivor.seal(&archive).unwrap();
    assert_eq!(sealed.size, 5077);
    let (folder, root) = (survivor.scene.dir(), library::Hash(sealed.root));
    for kept in kept {
        let proof = crate::consistency(&folder, kept.size, sealed.size).unwrap();
        let proof = proof.into_iter().map(library::Hash).collect();
        let old = library::Hash(kept.root);
        library::check_tree(&proof, sealed.size, root, kept.size, old).unwrap();
    }
    for index in [0, 255, 4999, 5076] {
        let proof = crate::inclusion(&folder, index, sealed.size).unwrap();
        let proof = proof.into_iter().map(library::Hash).collect();
        let leaf = library::record_hash(&body(index));
        library::check_record(&proof, sealed.size, root, index, leaf).unwrap();
    }
}

#[test]
fn sealing_goes_on_where_it_was_cut_short() {
    let (archive, whole) = (bodies(9000), Survivor::new());
    let expected = whole.seal(&archive).unwrap();
    for pages in 1..19 {
        let survivor = Survivor::new();
        let mut cut = CutShort(archive.clone(), pages);
        let refused = seal(&survivor.scene.options(), &mut cut, &mut |_, _| true);
        assert!(
            matches!(refused, Err(LogError::Unreadable(_))),
            "{refused:?}"
        );
        let sealed = survivor.seal(&archive).unwrap();
        assert_eq!((sealed.size, sealed.root), (expected.size, expected.root));
        assert_eq!(survivor.tiles(), whole.tiles(), "after {pages} pages");
    }
}

/// Whoever ends it loses nothing of what was sealed, and is told how far it is.
#[test]
fn sealing_tells_how_far_it_is_and_ends_when_it_is_told_to() {
    let (archive, whole, survivor) = (bodies(9000), Survivor::new(), Survivor::new());
    let expected = whole.seal(&archive).unwrap();
    let mut told = Vec::new();
    let mut parts = |many: usize| {
        let mut asked = 0;
        let options = survivor.scene.options();
        let sealed = seal(&options, &mut archive.clone(), &mut |done, of| {
            told.push((done, of));
            asked += 1;
            asked <= many
        });
        sealed.unwrap()
    };
    assert_eq!(parts(1), None);
    let sealed = parts(usize::MAX).expect("nobody ends it");
    assert_eq!((sealed.size, sealed.root), (expected.size, expected.root));
    let part = journal::SEGMENT_ENTRIES;
    let [first, end, goes_on, last] = told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((first, end), ((0, 9000), (part, 9000)));
    assert_eq!((goes_on, last), ((part, 9000), (2 * part, 9000)));
    assert_eq!(survivor.tiles(), whole.tiles());
}

/// The tiles are written and the checkpoint is not.
#[test]
fn sealing_goes_on_behind_an_older_checkpoint() {
    let (archive, survivor) = (bodies(9000), Survivor::new());
    survivor.seal(&bodies(4300)).unwrap();
    let before = Survivor::new();
    copy(&survivor.scene.dir(), &before.scene.dir());
    let sealed = survivor.seal(&archive).unwrap();
    let whole = survivor.tiles();
    copy(&before.scene.dir(), &survivor.scene.dir());
    assert_eq!(checkpoint(&survivor.scene).size, 4300);
    assert_eq!(survivor.seal(&archive).unwrap(), sealed);
    assert_eq!(survivor.tiles(), whole);
}

#[test]
fn sealing_again_changes_nothing() {
    let (archive, survivor) = (bodies(600), Survivor::new());
    let sealed = survivor.seal(&archive).unwrap();
    let files = files_in(&survivor.scene.dir());
    let note = fs::read(survivor.scene.dir().join("checkpoint")).unwrap();
    assert_eq!(survivor.seal(&archive).unwrap(), sealed);
    assert_eq!(files_in(&survivor.scene.dir()), files);
    let again = fs::read(survivor.scene.dir().join("checkpoint")).unwrap();
    assert_eq!(again, note);
}

#[test]
fn empty_log_is_sealed_without_a_checkpoint() {
    let survivor = Survivor::new();
    let sealed = survivor.seal(&bodies(0)).unwrap();
    assert_eq!((sealed.size, sealed.root), (0, published::root(0)));
    assert!(!survivor.scene.dir().join("checkpoint").exists());
}

#[test]
fn folder_of_other_entries_is_not_sealed() {
    for count in [200, 256, 4300] {
        let survivor = Survivor::new();
        survivor.seal(&bodies(count)).unwrap();
        let other = bodies(count + 300);
        let last = usize::try_from(count - 1).unwrap();
        other.held().entries[last] = b"another".to_vec();
        let refused = survivor.seal(&other);
        assert!(matches!(refused, Err(LogError::Foreign(_))), "{refused:?}");
        let refused = survivor.seal(&bodies(count - 1));
        let is_behind = matches!(refused, Err(LogError::ArchiveBehind { .. }));
        assert!(is_behind, "{refused:?}");
        assert_eq!(survivor.seal(&bodies(count)).unwrap().size, count);
    }
}

#[tokio::test]
async fn folder_of_a_log_that_lives_is_not_sealed() {
    let (scene, archive) = (Scene::new(), bodies(0));
    let log = scene.open_with(&archive);
    fill(&log, 10).await;
    log.publish(at(0)).unwrap();
    let options = Options {
        origin: "example.org/other".to_owned(),
        ..scene.options()
    };
    let refused = seal(&options, &mut archive.clone(), &mut |_, _| true);
    assert!(matches!(refused, Err(LogError::Foreign(_))), "{refused:?}");
    assert_holds(&log, 0, 10);
}

/// Is away after so many pages.
#[derive(Debug)]
struct CutShort(Memory, u64);

impl Archive for CutShort {
    fn keep(&mut self, _: u64, _: &[&[u8]]) -> Result<u64, NotKept> {
        Err(NotKept::Refused(
            "a log that is sealed takes nothing".to_owned(),
        ))
    }

    fn end(&mut self) -> Result<u64, String> {
        self.0.end()
    }

    fn page(&mut self, from: u64) -> Result<Vec<(u64, Vec<u8>)>, String> {
        self.1 = self.1.checked_sub(1).ok_or("away")?;
        self.0.page(from)
    }
}
