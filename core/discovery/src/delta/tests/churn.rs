//! A consumer that gives names up as fast as it asks for them, one by one and for all.

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 8;
/// Names of ours, which a consumer may hear of without asking for them.
const OURS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    /// Asks for these, saying that it holds some of them, and gives these up.
    Ask(Vec<u8>, Vec<u8>, Vec<u8>),
    /// Says one thing, which is answered or not.
    Poll(Option<bool>),
    Put(u8),
    Remove(u8),
}

/// The first ones are ours, and one of them stands for all.
fn name(number: u8) -> String {
    match number {
        ALL => "*".to_owned(),
        number => format!("name-{number:02}"),
    }
}

const ALL: u8 = 20;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = || prop_oneof![9 => 0..ALL, 1 => Just(ALL)];
    let numbers = move || prop::collection::vec(number(), 0..LIMIT);
    let ours = || 0..u8::try_from(OURS).unwrap();
    let step = prop_oneof![
        8 => (numbers(), numbers(), numbers()).prop_map(|(a, h, d)| Step::Ask(a, h, d)),
        4 => prop::option::of(any::<bool>()).prop_map(Step::Poll),
        1 => ours().prop_map(Step::Put),
        1 => ours().prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..80)
}

fn request(added: &[u8], held: &[u8], dropped: &[u8]) -> DeltaRequest {
    let names = |numbers: &[u8]| numbers.iter().map(|n| name(*n)).collect::<Vec<_>>();
    let held = names(held).into_iter().filter(|name| name != "*");
    DeltaRequest {
        type_url: SECRET.into(),
        subscribe: names(added),
        unsubscribe: names(dropped),
        initial_versions: held.map(|name| (name, "v".to_owned())).collect(),
        ..DeltaRequest::default()
    }
}

proptest! {
    #[test]
    fn no_more_names_are_remembered_than_the_bound(steps in steps()) {
        let mut world = World::default();
        let limits = Limits { names: LIMIT, unanswered: 2, ..Limits::default() };
        let mut session = DeltaSession::new(limits);
        for step in &steps {
            match step {
                Step::Ask(added, held, dropped) => {
                    let _ = session.handle(&request(added, held, dropped), &world);
                }
                Step::Poll(answer) => {
                    if let (Some(response), Some(good)) = (session.poll(&world), answer) {
                        let answer = if *good { ack(&response) } else { refusal(&response) };
                        session.handle(&answer, &world).unwrap();
                    }
                }
                Step::Put(number) => world.put(&name(*number), "v"),
                Step::Remove(number) => world.remove(&name(*number)),
            }
            session.invariant_counters();
            prop_assert!(session.remembered() <= LIMIT + OURS, "{}", session.remembered());
        }
    }
}

fn swap(added: std::ops::Range<usize>, dropped: std::ops::Range<usize>) -> DeltaRequest {
    let names = |range: std::ops::Range<usize>| range.map(|n| format!("reg-{n}")).collect();
    DeltaRequest {
        type_url: SECRET.into(),
        subscribe: names(added),
        unsubscribe: names(dropped),
        ..DeltaRequest::default()
    }
}

#[test]
fn names_that_mean_nothing_are_forgotten_under_a_wildcard() {
    let world = World::default();
    let mut session = session();
    session.handle(&subscribe(&["*"]), &world).unwrap();
    session.handle(&swap(0..100, 0..0), &world).unwrap();
    assert_eq!(session.poll(&world), None);
    session.handle(&swap(0..0, 0..100), &world).unwrap();
    assert_eq!((session.bytes(), session.remembered()), (0, 0));
}

/// Nothing is looked at while responses are unanswered, so nothing is known to mean nothing.
#[test]
fn names_given_up_unseen_count_on_under_a_wildcard() {
    let mut world = World::default();
    world.put("a", "1");
    let limits = Limits {
        names: 10,
        unanswered: 1,
        ..Limits::default()
    };
    let mut session = DeltaSession::new(limits);
    session.handle(&subscribe(&["*"]), &world).unwrap();
    session.poll(&world).unwrap();
    session.handle(&swap(0..9, 0..0), &world).unwrap();
    session.handle(&swap(0..0, 0..9), &world).unwrap();
    let refused = session.handle(&swap(9..10, 0..0), &world);
    assert_eq!(refused, Err(SessionError::TooManyNames { limit: 10 }));
    // Without the wildcard there is nothing to keep them for.
    let by_name = DeltaRequest {
        unsubscribe: vec!["*".into()],
        ..swap(0..0, 0..0)
    };
    session.handle(&by_name, &world).unwrap();
    session.handle(&swap(10..20, 0..0), &world).unwrap();
    session.handle(&swap(20..30, 10..20), &world).unwrap();
    session.invariant_counters();
    assert!(session.remembered() <= 11, "{}", session.remembered());
}

#[test]
fn names_are_bounded_by_their_bytes_as_well() {
    let world = World::default();
    let limits = Limits {
        bytes: 10 * 600,
        ..Limits::default()
    };
    let mut session = DeltaSession::new(limits);
    session.handle(&swap(0..10, 0..0), &world).unwrap();
    let refused = session.handle(&swap(10..13, 0..0), &world);
    assert_eq!(refused, Err(SessionError::TooManyBytes { limit: 6_000 }));
    session.handle(&swap(10..20, 0..10), &world).unwrap();
    session.handle(&swap(10..20, 0..0), &world).unwrap();
}
