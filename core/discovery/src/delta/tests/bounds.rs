//! What one stream may cost.

use super::*;

#[test]
fn a_version_too_long_proves_nothing() {
    let mut world = World::default();
    world.put("a", "1");
    let long = "1".repeat(129);
    let mut session = session();
    let outcomes = session
        .handle(&held(&["a"], &[("a", &long)]), &world)
        .unwrap();
    assert_eq!(outcomes.len(), 1);
    assert!(session.poll(&world).is_some());
}

#[test]
fn unanswered_responses_hold_the_session_back() {
    let mut world = World::default();
    let limits = Limits {
        unanswered: 2,
        ..Limits::default()
    };
    let mut session = DeltaSession::new(limits);
    session.handle(&subscribe(&["a"]), &world).unwrap();
    let mut sent = Vec::new();
    for version in ["1", "2", "3"] {
        world.put("a", version);
        sent.extend(session.poll(&world));
    }
    assert_eq!(sent.len(), 2);
    session.handle(&ack(&sent[0]), &world).unwrap();
    assert_eq!(
        contents(&session.poll(&world).unwrap().resources),
        [("a", "3")]
    );
}

#[test]
fn bounds_refuse_before_anything_changes() {
    let mut world = World::default();
    world.put("a", "1");
    let limits = Limits {
        names: 2,
        name_bytes: 4,
        ..Limits::default()
    };
    let mut session = DeltaSession::new(limits);
    let mut refused = |request: &DeltaRequest| session.handle(request, &world).unwrap_err();
    assert_eq!(
        refused(&subscribe(&["a", "b", "c"])),
        SessionError::TooManyNames { limit: 2 }
    );
    assert_eq!(
        refused(&subscribe(&["a", "long name"])),
        SessionError::NameTooLong { limit: 4 }
    );
    let claims = held(&["*"], &[("x", "1"), ("y", "1")]);
    assert_eq!(refused(&claims), SessionError::TooManyNames { limit: 2 });
    let foreign = DeltaRequest {
        type_url: "foreign".into(),
        ..subscribe(&["a"])
    };
    assert_eq!(refused(&foreign), SessionError::UnknownType);
    assert_eq!(session.poll(&world), None);
}

#[test]
fn a_full_stream_may_swap_names() {
    let world = World::default();
    let limits = Limits {
        names: 2,
        ..Limits::default()
    };
    let mut session = DeltaSession::new(limits);
    session.handle(&subscribe(&["a", "b"]), &world).unwrap();
    session
        .handle(&subscribe(&["b", "a", "a"]), &world)
        .unwrap();
    let swap = DeltaRequest {
        unsubscribe: vec!["a".into()],
        ..subscribe(&["c"])
    };
    session.handle(&swap, &world).unwrap();
    assert!(session.handle(&subscribe(&["a"]), &world).is_err());
}

#[test]
fn many_resources_travel_in_bounded_responses() {
    let mut world = World::default();
    let names: Vec<String> = (0..2_500).map(|i| format!("n{i}")).collect();
    names.iter().for_each(|name| world.put(name, "1"));
    let mut session = session();
    session.handle(&subscribe(&["*"]), &world).unwrap();
    let sizes: Vec<_> = drain(&mut session, &world)
        .iter()
        .map(|r| r.resources.len())
        .collect();
    assert_eq!(sizes, [1_024, 1_024, 452]);
}

#[test]
fn a_change_costs_one_look() {
    let mut world = World::default();
    let names: Vec<String> = (0..1_000).map(|i| format!("n{i}")).collect();
    names.iter().for_each(|name| world.put(name, "1"));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut session = holding(&names, &world);
    world.put("n7", "2");
    world.looks.set(0);
    session.touch(SECRET, "n7");
    session.touch(SECRET, "not subscribed");
    let response = session.poll_touched(&world).unwrap();
    assert_eq!(contents(&response.resources), [("n7", "2")]);
    session.handle(&ack(&response), &world).unwrap();
    assert_eq!(session.poll_touched(&world), None);
    assert_eq!(world.looks.get(), 1);
}
