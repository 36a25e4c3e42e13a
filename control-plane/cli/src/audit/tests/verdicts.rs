//! Exit codes of a verdict, and how an entry is shown.

use super::*;

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
    let (here, there) = (here.path(""), there.path(""));
    let exit = run(&["audit", "verify", "--log", &here, "--log", &there]);
    assert_eq!(exit, Ok(Exit::No));
    assert_eq!(run(&["audit", "verify", "--log", &here]), Ok(Exit::Yes));
}

#[test]
fn a_log_under_another_key_is_refused() {
    let (scene, other) = (Scene::new(), Scene::new());
    for scene in [&scene, &other] {
        let log = scene.open();
        scene.fill(&log, 3);
        log.publish(at(0)).unwrap();
    }
    let (log, vkey) = (scene.path(""), other.path("key.vkey"));
    let exit = run(&["audit", "verify", "--log", &log, "--key", &vkey]);
    assert_eq!(exit, Ok(Exit::No));
    let own = fs::read_to_string(scene.path("key.vkey")).unwrap();
    let exit = run(&["audit", "verify", "--log", &log, "--key", &own]);
    assert_eq!(exit, Ok(Exit::Yes));
    let missing = run(&["audit", "verify", "--log", "/nowhere"]).unwrap_err();
    assert_eq!(missing.exit, Exit::Usage);
    assert_eq!(
        missing.code, "no_checkpoint",
        "it is the log that is missing"
    );
}

#[test]
fn tail_shows_the_newest_entries() {
    let scene = Scene::new();
    let log = scene.open();
    scene.fill(&log, 600);
    let key = KeyPair::generate().unwrap();
    scene.append(&log, |index| {
        issued(&key, "spiffe://example.org/web", serial(index))
    });
    log.publish(at(0)).unwrap();
    let dir = scene.path("");
    assert_eq!(
        run(&["audit", "tail", "--log", &dir, "-n", "400"]),
        Ok(Exit::Yes)
    );
    let lines = tail::lines(&Folder::new(&scene.dir()), 598, 601).unwrap();
    let shown: Vec<String> = lines.iter().map(tail::text).collect();
    assert!(
        shown[0].starts_with("598 2030-03-17T17:46:40Z refused caller=\"n598\""),
        "{shown:?}"
    );
    assert!(
        shown[2].contains("id=\"spiffe://example.org/web\""),
        "{shown:?}"
    );
    assert!(
        !shown[2].contains('\u{1b}'),
        "a terminal would obey: {shown:?}"
    );
}
