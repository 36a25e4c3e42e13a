use super::*;
use crate::testing::{IMPOSSIBLE, SECRET, World, ask, contents, nack, settle};

fn session() -> StateSession {
    StateSession::new(Limits::default())
}

fn worlds_secrets() -> World {
    let mut world = World::default();
    world.put("ROOTCA", "r1");
    world.put("srv", "s1");
    world
}

#[test]
fn a_secret_is_sent_and_acknowledged() {
    let world = worlds_secrets();
    let mut session = session();
    session.handle(&ask(&["srv"], "", ""), &world).unwrap();
    let response = session.poll(&world).unwrap();
    assert_eq!(contents(&response.resources), [("srv", "s1")]);
    assert_eq!(response.version_info, "s1");
    let ack = ask(&["srv"], "s1", &response.nonce);
    let outcomes = session.handle(&ack, &world).unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Acknowledged { version, .. }] if version == "s1"));
    assert_eq!(session.poll(&world), None);
}

#[test]
fn a_reconnect_with_equal_content_hears_nothing() {
    let world = worlds_secrets();
    let mut session = session();
    let outcomes = session.handle(&ask(&["srv"], "s1", ""), &world).unwrap();
    assert_eq!(
        outcomes.len(),
        2,
        "subscribed and acknowledged: {outcomes:?}"
    );
    assert_eq!(session.poll(&world), None);
    assert_eq!(session.acknowledged(SECRET, "srv"), Some("s1"));
}

#[test]
fn a_reconnect_with_older_content_is_served() {
    let world = worlds_secrets();
    let mut session = session();
    session.handle(&ask(&["srv"], "s0", ""), &world).unwrap();
    assert_eq!(
        contents(&session.poll(&world).unwrap().resources),
        [("srv", "s1")]
    );
}

#[test]
fn one_version_proves_nothing_for_two_names() {
    let world = worlds_secrets();
    let mut session = session();
    let names = ["srv", "ROOTCA"];
    session.handle(&ask(&names, "s1", ""), &world).unwrap();
    assert_eq!(settle(&mut session, &names, &world).len(), 2);
}

#[test]
fn a_version_proves_nothing_for_a_later_name() {
    let world = worlds_secrets();
    let mut session = session();
    session.handle(&ask(&["srv"], "s1", ""), &world).unwrap();
    session.handle(&ask(&[], "s1", ""), &world).unwrap();
    session.handle(&ask(&["srv"], "s1", ""), &world).unwrap();
    assert!(session.poll(&world).is_some());
}

#[test]
fn names_added_with_an_empty_nonce_are_served() {
    let world = worlds_secrets();
    let mut session = session();
    session.handle(&ask(&["srv"], "", ""), &world).unwrap();
    let first = session.poll(&world).unwrap();
    session
        .handle(&ask(&["ROOTCA", "srv"], "", ""), &world)
        .unwrap();
    let both = ["srv", "ROOTCA"];
    session
        .handle(&ask(&both, "s1", &first.nonce), &world)
        .unwrap();
    let rest = settle(&mut session, &both, &world);
    assert_eq!(rest.len(), 1);
    assert_eq!(contents(&rest[0].resources), [("ROOTCA", "r1")]);
}

#[test]
fn names_compare_as_sets() {
    let world = worlds_secrets();
    let mut session = session();
    session
        .handle(&ask(&["srv", "ROOTCA"], "", ""), &world)
        .unwrap();
    settle(&mut session, &["ROOTCA", "srv"], &world);
    let outcomes = session.handle(&ask(&["ROOTCA", "srv", "srv"], "s1", "9"), &world);
    assert_eq!(outcomes.unwrap(), []);
    assert_eq!(session.poll(&world), None);
}

#[test]
fn changed_secrets_travel_one_by_one() {
    let mut world = worlds_secrets();
    let names = ["srv", "ROOTCA", "nobody"];
    let mut session = session();
    session.handle(&ask(&names, "", ""), &world).unwrap();
    assert_eq!(settle(&mut session, &names, &world).len(), 2);
    world.put("srv", "s2");
    let responses = settle(&mut session, &names, &world);
    assert_eq!(responses.len(), 1);
    assert_eq!(contents(&responses[0].resources), [("srv", "s2")]);
}

#[test]
fn one_response_at_a_time_is_unanswered() {
    let mut world = worlds_secrets();
    let mut session = session();
    session.handle(&ask(&["srv"], "", ""), &world).unwrap();
    let first = session.poll(&world).unwrap();
    world.put("srv", "s2");
    assert_eq!(session.poll(&world), None);
    session
        .handle(&ask(&["srv"], "s1", &first.nonce), &world)
        .unwrap();
    assert_eq!(session.poll(&world).unwrap().version_info, "s2");
}

#[test]
fn a_refused_secret_is_not_resent() {
    let mut world = worlds_secrets();
    let names = ["srv", "ROOTCA"];
    let mut session = session();
    session.handle(&ask(&names, "", ""), &world).unwrap();
    settle(&mut session, &names, &world);
    world.put("srv", "bad");
    let response = session.poll(&world).unwrap();
    let refusal = StateRequest {
        nack: Some(nack()),
        ..ask(&names, "s1", &response.nonce)
    };
    let outcomes = session.handle(&refusal, &world).unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Refused { names, .. }] if names == &["srv"]));
    assert_eq!(session.poll(&world), None);
    assert_eq!(session.acknowledged(SECRET, "srv"), Some("s1"));
    world.put("ROOTCA", "r2");
    assert_eq!(session.poll(&world).unwrap().version_info, "r2");
}

#[test]
fn absence_is_not_removal() {
    let mut world = worlds_secrets();
    let mut session = session();
    session.handle(&ask(&["srv"], "s1", ""), &world).unwrap();
    world.vanish("srv");
    assert_eq!(session.poll(&world), None);
    assert_eq!(session.acknowledged(SECRET, "srv"), Some("s1"));
}

#[test]
fn a_removal_cannot_be_said() {
    let mut world = worlds_secrets();
    let mut session = session();
    session.handle(&ask(&["srv"], "s1", ""), &world).unwrap();
    world.remove("srv");
    assert_eq!(session.poll(&world), None);
    world.put("srv", "s2");
    assert_eq!(session.poll(&world).unwrap().version_info, "s2");
}

#[test]
fn a_dropped_name_is_forgotten() {
    let mut world = worlds_secrets();
    let mut session = session();
    session
        .handle(&ask(&["srv", "ROOTCA"], "", ""), &world)
        .unwrap();
    settle(&mut session, &["srv", "ROOTCA"], &world);
    let outcomes = session
        .handle(&ask(&["ROOTCA"], "s1", "2"), &world)
        .unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Unsubscribed { name, .. }] if name == "srv"));
    world.put("srv", "s2");
    assert_eq!(session.poll(&world), None);
}

#[test]
fn a_star_is_a_name_like_any_other() {
    let world = worlds_secrets();
    let mut session = session();
    session.handle(&ask(&["*"], "", ""), &world).unwrap();
    assert_eq!(session.poll(&world), None);
}

#[test]
fn bounds_refuse_before_anything_changes() {
    let world = worlds_secrets();
    let limits = Limits {
        names: 1,
        name_bytes: 3,
        ..Limits::default()
    };
    let mut session = StateSession::new(limits);
    let mut refused = |request: &StateRequest| session.handle(request, &world).unwrap_err();
    assert_eq!(
        refused(&ask(&["a", "b"], "", "")),
        SessionError::TooManyNames { limit: 1 }
    );
    assert_eq!(
        refused(&ask(&["long"], "", "")),
        SessionError::NameTooLong { limit: 3 }
    );
    let foreign = StateRequest {
        type_url: "foreign".into(),
        ..ask(&["srv"], "", "")
    };
    assert_eq!(refused(&foreign), SessionError::UnknownType);
    session.handle(&ask(&["srv"], "", ""), &world).unwrap();
    session.handle(&ask(&["a"], "", ""), &world).unwrap();
}

#[test]
fn an_unchanged_list_looks_at_nothing() {
    let mut world = World::default();
    let names: Vec<String> = (0..1_000).map(|n| format!("name-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.put("name-7", "1");
    let mut session = session();
    session.handle(&ask(&names, "", ""), &world).unwrap();
    let response = session.poll_touched(&world).unwrap();
    assert_eq!(session.poll_touched(&world), None);
    world.looks.set(0);
    let ack = ask(&names, &response.version_info, &response.nonce);
    for _ in 0..100 {
        session.handle(&ack, &world).unwrap();
        assert!(!session.is_touched());
        assert_eq!(session.poll_touched(&world), None);
    }
    assert_eq!(world.looks.get(), 0);
    assert_eq!(session.acknowledged(SECRET, "name-7"), Some("1"));
    world.put("name-7", "2");
    session.touch(SECRET, "name-7");
    assert_eq!(session.poll_touched(&world).unwrap().version_info, "2");
    assert!(world.looks.get() < 10, "{}", world.looks.get());
}

#[test]
fn an_impossible_name_is_absent_and_not_kept() {
    let world = worlds_secrets();
    let limits = Limits {
        names: 2,
        ..Limits::default()
    };
    let mut session = StateSession::new(limits);
    let odd = format!("{IMPOSSIBLE}-1");
    let names = ["srv", &odd, "ROOTCA"];
    session.handle(&ask(&names, "", ""), &world).unwrap();
    let weight = session.bytes();
    assert_eq!(settle(&mut session, &names, &world).len(), 2);
    // It may come and go: nothing else is asked for again, and none of the bound is its own.
    for names in [
        &["ROOTCA", "srv"][..],
        &names,
        &["srv", &odd, &odd, "ROOTCA"],
    ] {
        session.handle(&ask(names, "s1", ""), &world).unwrap();
        session.invariant_counters();
        assert_eq!(session.poll(&world), None);
        assert_eq!(session.bytes(), weight);
    }
    assert!(!session.wants(SECRET, &odd) && session.wants(SECRET, "srv"));
    session.handle(&ask(&[&odd], "s1", ""), &world).unwrap();
    assert_eq!(session.bytes(), 0);
}
