//! The rules of the delta dialect, a story each.

mod bounds;
mod churn;
mod removal;

use super::*;
use crate::testing::{ENTITLEMENT, SECRET, World, ack, contents, drain, nack, refusal, subscribe};

fn session() -> DeltaSession {
    DeltaSession::new(Limits::default())
}

fn acknowledged(name: &str, version: &str) -> Outcome {
    Outcome::Acknowledged {
        type_url: SECRET.into(),
        name: name.into(),
        version: version.into(),
    }
}

fn held(names: &[&str], held: &[(&str, &str)]) -> DeltaRequest {
    let owned = |(name, version): &(&str, &str)| (name.to_string(), version.to_string());
    DeltaRequest {
        initial_versions: held.iter().map(owned).collect(),
        ..subscribe(names)
    }
}

/// A session whose consumer holds these names.
fn holding(names: &[&str], world: &World) -> DeltaSession {
    let mut session = session();
    session.handle(&subscribe(names), world).unwrap();
    for response in drain(&mut session, world) {
        session.handle(&ack(&response), world).unwrap();
    }
    session
}

#[test]
fn a_subscription_is_answered_once() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = session();
    let outcomes = session.handle(&subscribe(&["a"]), &world).unwrap();
    assert_eq!(outcomes.len(), 1);
    let response = session.poll(&world).unwrap();
    assert_eq!(contents(&response.resources), [("a", "1")]);
    assert_eq!(response.system_version, "0.1");
    assert_eq!(session.poll(&world), None);
    assert_eq!(session.acknowledged(SECRET, "a"), None);
    let outcomes = session.handle(&ack(&response), &world).unwrap();
    assert_eq!(outcomes, [acknowledged("a", "1")]);
    assert_eq!(session.acknowledged(SECRET, "a"), Some("1"));
    assert_eq!(session.poll(&world), None);
}

#[test]
fn what_is_held_is_not_resent() {
    let mut world = World::default();
    world.put("same", "1");
    world.put("old", "2");
    world.remove("gone");
    let mut session = session();
    let names = ["same", "old", "gone"];
    let request = held(&names, &[("same", "1"), ("old", "1"), ("gone", "1")]);
    let outcomes = session.handle(&request, &world).unwrap();
    assert!(outcomes.contains(&acknowledged("same", "1")));
    let response = session.poll(&world).unwrap();
    assert_eq!(contents(&response.resources), [("old", "2")]);
    assert_eq!(response.removed, ["gone"]);
    assert_eq!(session.poll(&world), None);
}

#[test]
fn a_name_that_appears_later_is_sent() {
    let mut world = World::default();
    let mut session = holding(&["late"], &world);
    world.put("late", "1");
    assert_eq!(
        contents(&session.poll(&world).unwrap().resources),
        [("late", "1")]
    );
}

#[test]
fn stale_nonces_acknowledge_nothing() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = session();
    session.handle(&subscribe(&["a"]), &world).unwrap();
    let response = session.poll(&world).unwrap();
    for nonce in ["", "0", "2", "01", "+1", "nonsense"] {
        let stale = DeltaRequest {
            response_nonce: nonce.into(),
            ..ack(&response)
        };
        assert_eq!(session.handle(&stale, &world).unwrap(), [], "{nonce}");
    }
    let other_type = DeltaRequest {
        type_url: ENTITLEMENT.into(),
        ..ack(&response)
    };
    assert_eq!(session.handle(&other_type, &world).unwrap(), []);
    assert_eq!(session.acknowledged(SECRET, "a"), None);
    session.handle(&ack(&response), &world).unwrap();
    assert_eq!(session.handle(&refusal(&response), &world).unwrap(), []);
    assert_eq!(session.acknowledged(SECRET, "a"), Some("1"));
}

#[test]
fn a_refused_version_is_not_resent() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = holding(&["a"], &world);
    world.put("a", "bad");
    let response = session.poll(&world).unwrap();
    let outcomes = session.handle(&refusal(&response), &world).unwrap();
    let refused = Outcome::Refused {
        type_url: SECRET.into(),
        names: vec!["a".into()],
        nack: nack(),
    };
    assert_eq!(outcomes, [refused]);
    assert_eq!(session.poll(&world), None);
    assert_eq!(session.acknowledged(SECRET, "a"), Some("1"));
    world.put("a", "1");
    assert_eq!(session.poll(&world), None);
    world.put("a", "2");
    assert_eq!(
        contents(&session.poll(&world).unwrap().resources),
        [("a", "2")]
    );
}

#[test]
fn one_bad_name_harms_no_other() {
    let mut world = World::default();
    for name in ["a", "bad", "c"] {
        world.put(name, "1");
    }
    let mut session = session();
    session
        .handle(&subscribe(&["a", "bad", "c"]), &world)
        .unwrap();
    let together = session.poll(&world).unwrap();
    assert_eq!(together.resources.len(), 3);
    session.handle(&refusal(&together), &world).unwrap();
    let apart = drain(&mut session, &world);
    assert_eq!(apart.len(), 3);
    for response in apart {
        let [resource] = response.resources.as_slice() else {
            panic!("not alone: {response:?}");
        };
        let bad = &*resource.name == "bad";
        let request = if bad {
            refusal(&response)
        } else {
            ack(&response)
        };
        session.handle(&request, &world).unwrap();
    }
    assert_eq!(session.poll(&world), None);
    let held = ["a", "bad", "c"].map(|name| session.acknowledged(SECRET, name));
    assert_eq!(held, [Some("1"), None, Some("1")]);
}

#[test]
fn an_older_answer_changes_nothing() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = session();
    session.handle(&subscribe(&["a"]), &world).unwrap();
    let first = session.poll(&world).unwrap();
    world.put("a", "2");
    let second = session.poll(&world).unwrap();
    session.handle(&ack(&second), &world).unwrap();
    assert_eq!(session.handle(&ack(&first), &world).unwrap(), []);
    assert_eq!(session.acknowledged(SECRET, "a"), Some("2"));
    assert_eq!(session.poll(&world), None);
}

#[test]
fn content_that_returns_while_unanswered_is_sent() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = holding(&["a"], &world);
    world.put("a", "2");
    session.poll(&world).unwrap();
    world.put("a", "1");
    assert_eq!(
        contents(&session.poll(&world).unwrap().resources),
        [("a", "1")]
    );
}

#[test]
fn a_wildcard_follows_every_name() {
    let mut world = World::default();
    world.put("a", "1");
    world.put("b", "1");
    world.remove("gone");
    let mut session = session();
    let request = held(&["*"], &[("a", "1"), ("gone", "1"), ("unknown", "1")]);
    session.handle(&request, &world).unwrap();
    let response = session.poll(&world).unwrap();
    assert_eq!(contents(&response.resources), [("b", "1")]);
    assert_eq!(response.removed, ["gone"]);
    world.put("new", "1");
    assert_eq!(
        contents(&session.poll(&world).unwrap().resources),
        [("new", "1")]
    );
    let drop_all = DeltaRequest {
        type_url: SECRET.into(),
        unsubscribe: vec!["*".into()],
        ..DeltaRequest::default()
    };
    session.handle(&drop_all, &world).unwrap();
    world.put("new", "2");
    assert_eq!(session.poll(&world), None);
}

#[test]
fn an_empty_list_asks_for_nothing() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = session();
    assert_eq!(session.handle(&subscribe(&[]), &world).unwrap(), []);
    assert_eq!(session.poll(&world), None);
}

#[test]
fn a_name_asked_again_is_sent_again() {
    let mut world = World::default();
    world.put("a", "1");
    let mut session = holding(&["a"], &world);
    session.handle(&subscribe(&["a"]), &world).unwrap();
    assert!(session.poll(&world).is_some());
}

#[test]
fn types_do_not_share_names() {
    let mut world = World::default();
    world.put("a", "1");
    world.put_typed(ENTITLEMENT, "a", "9");
    let mut session = session();
    session.handle(&subscribe(&["a"]), &world).unwrap();
    let other = DeltaRequest {
        type_url: ENTITLEMENT.into(),
        ..subscribe(&["a"])
    };
    session.handle(&other, &world).unwrap();
    let responses = drain(&mut session, &world);
    assert_eq!(responses.len(), 2);
    for response in &responses {
        assert!(
            response
                .resources
                .iter()
                .all(|r| *r.type_url == response.type_url)
        );
    }
    assert_ne!(responses[0].nonce, responses[1].nonce);
}

#[test]
fn an_impossible_name_is_absent_and_not_kept() {
    let mut world = World::default();
    world.put("a", "1");
    let limits = Limits {
        names: 1,
        ..Limits::default()
    };
    let mut session = DeltaSession::new(limits);
    let names = ["impossible-1", "a", "impossible-2"];
    let outcomes = session.handle(&subscribe(&names), &world).unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Subscribed { name, .. }] if name == "a"));
    assert_eq!(drain(&mut session, &world).len(), 1);
    let held = [("impossible-3".to_owned(), "1".to_owned())];
    let request = DeltaRequest {
        initial_versions: held.into(),
        ..subscribe(&["impossible-3"])
    };
    assert_eq!(session.handle(&request, &world).unwrap(), []);
    assert_eq!(session.acknowledged(SECRET, "impossible-3"), None);
}

/// Each request may say what else is held: together they stay within the bound of names.
#[test]
fn what_is_said_to_be_held_counts_once_and_for_all() {
    let world = World::default();
    let limits = Limits {
        names: 10,
        ..Limits::default()
    };
    let mut session = DeltaSession::new(limits);
    let holding = |from: usize| DeltaRequest {
        initial_versions: (from..from + 6)
            .map(|n| (format!("name-{n}"), "1".to_owned()))
            .collect(),
        ..subscribe(&["*"])
    };
    session.handle(&holding(0), &world).unwrap();
    let weight = session.bytes();
    session.handle(&holding(0), &world).unwrap();
    session.invariant_counters();
    assert_eq!(session.bytes(), weight, "the same again");
    let refused = session.handle(&holding(6), &world);
    assert_eq!(refused, Err(SessionError::TooManyNames { limit: 10 }));
    let drop_all = DeltaRequest {
        type_url: SECRET.into(),
        unsubscribe: vec!["*".into()],
        ..DeltaRequest::default()
    };
    session.handle(&drop_all, &world).unwrap();
    session.handle(&holding(6), &world).unwrap();
    session.invariant_counters();
}
