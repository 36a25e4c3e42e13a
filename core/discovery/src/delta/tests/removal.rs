//! What takes a resource away, and what does not.

use super::*;

#[test]
fn absence_is_not_removal() {
    let mut world = World::default();
    world.put("a", "1");
    world.put("b", "1");
    let mut session = holding(&["a", "b", "never"], &world);
    world.vanish("a");
    assert_eq!(session.poll(&world), None);
    assert_eq!(session.acknowledged(SECRET, "a"), Some("1"));
    world.remove("b");
    assert_eq!(session.poll(&world).unwrap().removed, ["b"]);
}

#[test]
fn a_tombstone_is_sent_once() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = holding(&["a", "never"], &world);
    world.remove("a");
    world.remove("never");
    let response = session.poll(&world).unwrap();
    assert_eq!(
        (response.removed.as_slice(), response.resources.len()),
        (&["a".to_owned()][..], 0)
    );
    assert_eq!(session.poll(&world), None);
    assert_eq!(session.handle(&ack(&response), &world).unwrap(), []);
    assert_eq!(session.poll(&world), None);
    assert_eq!(session.acknowledged(SECRET, "a"), None);
    world.put("a", "1");
    assert_eq!(
        contents(&session.poll(&world).unwrap().resources),
        [("a", "1")]
    );
}

#[test]
fn a_tombstone_follows_an_unanswered_response() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = session();
    session.handle(&subscribe(&["a"]), &world).unwrap();
    session.poll(&world).unwrap();
    world.remove("a");
    assert_eq!(session.poll(&world).unwrap().removed, ["a"]);
}

#[test]
fn an_unsubscribed_name_is_forgotten() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = holding(&["a"], &world);
    let request = DeltaRequest {
        unsubscribe: vec!["a".into(), "never".into()],
        ..subscribe(&[])
    };
    assert_eq!(session.handle(&request, &world).unwrap().len(), 1);
    world.put("a", "2");
    assert_eq!(session.poll(&world), None);
    assert_eq!(session.acknowledged(SECRET, "a"), None);
}

#[test]
fn a_tombstone_reaches_who_left_and_returned() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = session();
    session.handle(&subscribe(&["a"]), &world).unwrap();
    // Under way while the consumer gives the name up and asks for it again: it is installed.
    let under_way = session.poll(&world).unwrap();
    let leave = DeltaRequest {
        unsubscribe: vec!["a".into()],
        ..subscribe(&[])
    };
    session.handle(&leave, &world).unwrap();
    session.handle(&subscribe(&["a"]), &world).unwrap();
    session.handle(&ack(&under_way), &world).unwrap();
    world.remove("a");
    assert_eq!(session.poll(&world).unwrap().removed, ["a"]);
    assert_eq!(session.poll(&world), None);
}
