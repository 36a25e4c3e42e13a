//! Proofs that stand alone.

use super::*;

fn scene_with_a_certificate() -> (Scene, Serial) {
    let scene = Scene::new();
    let log = scene.open();
    scene.fill(&log, 300);
    let key = KeyPair::generate().unwrap();
    let at_300 = serial(300);
    scene.append(&log, |_| issued(&key, "spiffe://example.org/web", at_300));
    scene.fill(&log, 333);
    log.publish(at(0)).unwrap();
    (scene, at_300)
}

#[test]
fn a_proof_is_checked_without_its_log() {
    let (scene, serial) = scene_with_a_certificate();
    let proof = scene.folder.path().join("web.tlog-proof");
    let (log, out) = (scene.path(""), proof.display().to_string());
    let serial = serial.to_string();
    let proved = run(&[
        "audit", "prove", "--log", &log, "--serial", &serial, "--out", &out,
    ]);
    assert_eq!(proved, Ok(Exit::Yes));
    let vkey = fs::read_to_string(scene.path("key.vkey")).unwrap();
    fs::remove_dir_all(scene.dir()).unwrap();
    let checked = run(&["audit", "prove", "--check", &out, "--key", vkey.trim()]);
    assert_eq!(checked, Ok(Exit::Yes));
    let whole = fs::read(&proof).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&proof, flipped).unwrap();
        let checked = run(&["audit", "prove", "--check", &out, "--key", vkey.trim()]);
        assert!(checked.is_err(), "byte {at}");
    }
}

#[test]
fn a_serial_that_is_not_there_has_no_proof() {
    let (scene, there) = scene_with_a_certificate();
    let log = scene.path("");
    let prove = |serial: Serial| {
        let serial = serial.to_string();
        run(&["audit", "prove", "--log", &log, "--serial", &serial])
    };
    assert_eq!(prove(there), Ok(Exit::Yes));
    let random = Serial::new(LOG_ID, 300, [8; 8]).unwrap();
    let other_log = Serial::new(LOG_ID + 1, 300, [9; 8]).unwrap();
    for absent in [serial(299), serial(301), serial(333), random, other_log] {
        let failure = prove(absent).unwrap_err();
        assert_eq!(
            (failure.exit, &*failure.code),
            (Exit::Denied, "not_in_the_log")
        );
    }
}
