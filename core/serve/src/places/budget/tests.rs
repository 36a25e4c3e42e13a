use proptest::prelude::*;

use super::*;

type Holder = u8;

/// What a listener can see happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    Arrives(Holder),
    /// One of the places taken so far is given back, also twice.
    Leaves(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..6_u8).prop_map(Event::Arrives),
        1 => (0..200_usize).prop_map(Event::Leaves),
    ];
    proptest::collection::vec(event, 0..200)
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let surplus = prop_oneof![
        Just(Surplus::OldestGoes),
        Just(Surplus::OldestOfItsOwnGoes),
        Just(Surplus::Refused),
    ];
    (1..12_usize, 1..12_usize, surplus).prop_map(|(total, each, surplus)| Bounds {
        total,
        each,
        surplus,
    })
}

/// The same by looking at everything, in the order of arrival.
#[derive(Default)]
struct Model(Vec<(Ticket, Holder)>);

impl Model {
    fn of(&self, holder: Holder) -> usize {
        self.0.iter().filter(|(_, h)| *h == holder).count()
    }

    fn most(&self) -> usize {
        let counts = self.0.iter().map(|(_, holder)| self.of(*holder));
        counts.max().unwrap_or(0)
    }

    fn is_oldest_of(&self, ticket: Ticket, holder: Holder) -> bool {
        self.0.iter().find(|(_, h)| *h == holder) == Some(&(ticket, holder))
    }
}

/// Every arrival is checked against what was open before it.
fn check_arrival(model: &mut Model, budget: &mut Budget<Holder, Holder>, holder: Holder) {
    let Bounds {
        total,
        each,
        surplus,
    } = budget.bounds;
    let (open, own) = (model.0.len(), model.of(holder));
    let next = budget.next;
    // The note names the holder; which ticket went is found by what is left.
    let entered = budget.enter(&holder, holder);
    let is_full = own >= each || open >= total;
    let Ok((ticket, displaced)) = entered else {
        match surplus {
            Surplus::OldestGoes => panic!("a newcomer was refused"),
            Surplus::OldestOfItsOwnGoes => assert!(open >= total && own == 0),
            Surplus::Refused => assert!(is_full || own >= TIMES_THE_FREE * (total - open)),
        }
        assert_eq!(budget.open(), open, "a refusal changes nothing");
        return;
    };
    assert_eq!(ticket, next);
    assert_eq!(
        displaced.is_some(),
        is_full,
        "somebody goes where it is full, and only there"
    );
    if let Some(loser) = displaced {
        let left: Vec<_> = budget.taken.places_of(&loser).map(|(it, _)| it).collect();
        let lost = model
            .0
            .iter()
            .position(|(ticket, h)| *h == loser && !left.contains(ticket));
        let (gone, _) = model.0[lost.expect("it was open")];
        assert!(model.is_oldest_of(gone, loser), "the oldest of its holder");
        let is_greedy = model.of(loser) == model.most() && model.of(loser) > own;
        let may_lose_to_another = surplus == Surplus::OldestGoes && own < each && is_greedy;
        assert!(loser == holder || may_lose_to_another);
        model.0.retain(|(ticket, _)| *ticket != gone);
    }
    model.0.push((ticket, holder));
}

proptest! {
    #[test]
    fn places_are_shared_as_the_rules_say(bounds in bounds(), events in events()) {
        let mut budget = Budget::new(bounds);
        let mut model = Model::default();
        let mut all = Vec::new();
        for event in events {
            match event {
                Event::Arrives(holder) => {
                    check_arrival(&mut model, &mut budget, holder);
                    all.extend(model.0.last().copied());
                }
                Event::Leaves(at) if at < all.len() => {
                    let (ticket, holder) = all[at];
                    budget.leave(&holder, ticket);
                    model.0.retain(|(open, _)| *open != ticket);
                }
                Event::Leaves(_) => {}
            }
            prop_assert_eq!(budget.open(), model.0.len());
            prop_assert!(budget.open() <= bounds.total);
            for holder in 0..6 {
                let open = budget.taken.of(&holder);
                prop_assert_eq!(open, model.of(holder));
                prop_assert!(open <= bounds.each);
            }
            prop_assert!(budget.taken.is_consistent());
        }
    }

    /// Whoever takes all it can get leaves a quarter to the next.
    #[test]
    fn greedy_holders_leave_some_free(total in 1..2_000_usize, holders in 1..8_u32) {
        let bounds = Bounds {
            total,
            each: usize::MAX,
            surplus: Surplus::Refused,
        };
        let mut budget = Budget::new(bounds);
        for holder in 0..holders {
            while budget.enter(&holder, ()).is_ok() {}
        }
        prop_assert_eq!(total - budget.open(), total / 4_usize.pow(holders));
    }
}

#[test]
fn flood_of_one_source_displaces_only_itself() {
    let bounds = Bounds {
        total: 100,
        each: 100,
        surplus: Surplus::OldestGoes,
    };
    let mut budget = Budget::new(bounds);
    let (honest, _) = budget.enter(&1, "honest").unwrap();
    for _ in 0..10_000 {
        let (_, displaced) = budget.enter(&2, "flood").unwrap();
        assert_ne!(displaced, Some("honest"));
    }
    budget.leave(&1, honest);
    assert_eq!(budget.open(), 99);
}

#[test]
fn flood_of_many_sources_displaces_in_order() {
    let bounds = Bounds {
        total: 10,
        each: 10,
        surplus: Surplus::OldestGoes,
    };
    let mut budget = Budget::new(bounds);
    for source in 0..1_000 {
        let (_, displaced) = budget.enter(&source, source).unwrap();
        assert_eq!(displaced, (source >= 10).then(|| source - 10));
    }
}
