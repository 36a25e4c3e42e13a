//! A proof is made by the library's own reader of trees, and judged before it is given.

use super::*;

fn scene_with_a_certificate(size: u64) -> (Scene, Serial) {
    let scene = Scene::new();
    let log = scene.open();
    scene.fill(&log, 300);
    let key = KeyPair::generate().unwrap();
    let at_300 = serial(300);
    scene.append(&log, |_| issued(&key, "spiffe://example.org/web", at_300));
    scene.fill(&log, size);
    log.publish(at(0)).unwrap();
    (scene, at_300)
}

fn prove(scene: &Scene, serial: Serial) -> Result<(Proof, Proved), AuditError> {
    let folder = Folder::new(&scene.dir());
    let keys = LogKeys::open(None, &folder).unwrap();
    crate::prove(&folder, &keys, serial)
}

/// Two writers of one standard: the hashes are those that the log's own code finds.
#[test]
fn proof_is_that_of_the_logs_own_code() {
    for size in [301, 333, 512, 513, 700] {
        let (scene, serial) = scene_with_a_certificate(size);
        let (proof, proved) = prove(&scene, serial).unwrap();
        assert_eq!((proved.index, proved.size), (300, size));
        let theirs = countersign_tlog::inclusion(&scene.dir(), 300, size).unwrap();
        let ours: Vec<[u8; 32]> = proof.hashes().map(|hash| hash.0).collect();
        assert_eq!(ours, theirs, "{size}");
    }
}

#[test]
fn tile_that_is_not_of_the_tree_proves_nothing() {
    let (scene, serial) = scene_with_a_certificate(333);
    let tile = scene.dir().join("tile/0/001.p/77");
    let mut bytes = fs::read(&tile).unwrap();
    bytes[100] ^= 1;
    fs::write(&tile, &bytes).unwrap();
    let error = prove(&scene, serial).unwrap_err();
    assert!(matches!(&error, AuditError::Unsound(_)), "{error:?}");
    fs::remove_file(&tile).unwrap();
    let error = prove(&scene, serial).unwrap_err();
    let path = tile.display().to_string();
    assert_eq!(error.to_string(), format!("{path} is missing"));
}
