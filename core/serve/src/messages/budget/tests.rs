use proptest::prelude::*;

use super::*;
use crate::counters::Counters;
use crate::limits::Limits;
use crate::unix::UserPlaces;

const SHARES: Shares = Shares {
    total: 100,
    each: 60,
};

fn charge(budget: &Arc<ByteBudget>, uid: u32, bytes: usize) -> Result<Charge, Exhausted> {
    let mut charge = budget.account(Payer::Uid(uid)).open();
    charge.resize(bytes)?;
    Ok(charge)
}

#[test]
fn a_payer_takes_its_share_and_no_more() {
    let budget = ByteBudget::new(SHARES);
    let held = charge(&budget, 1, 60).unwrap();
    assert_eq!(charge(&budget, 1, 1).unwrap_err(), Exhausted::Share);
    let other = charge(&budget, 2, 40).unwrap();
    assert_eq!(charge(&budget, 2, 1).unwrap_err(), Exhausted::Total);
    drop(held);
    assert_eq!(budget.held(), 40);
    assert!(charge(&budget, 1, 60).is_ok());
    drop(other);
    assert!(budget.lock().by_payer.is_empty());
}

#[test]
fn whoever_holds_most_gives_way_to_others() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let relief = {
        let told = Arc::clone(&told);
        move |payer: &Payer| told.lock().unwrap().push(payer.clone())
    };
    let budget = ByteBudget::relieved_by(SHARES, relief);
    let most = charge(&budget, 1, 60).unwrap();
    let second = charge(&budget, 2, 40).unwrap();
    assert_eq!(charge(&budget, 3, 1).unwrap_err(), Exhausted::Total);
    assert_eq!(charge(&budget, 2, 1).unwrap_err(), Exhausted::Total);
    assert_eq!(*told.lock().unwrap(), [Payer::Uid(1), Payer::Uid(1)]);
    drop(most);
    assert!(charge(&budget, 3, 1).is_ok());
    // Who has the most himself takes nothing from others.
    let rest = charge(&budget, 3, 60).unwrap();
    assert_eq!(charge(&budget, 3, 1).unwrap_err(), Exhausted::Share);
    drop((second, rest));
    assert_eq!(told.lock().unwrap().len(), 2);
}

#[test]
fn account_within_less_of_a_budget_takes_no_more() {
    let budget = ByteBudget::new(SHARES);
    let account = |uid| {
        let shares = Shares {
            total: 50,
            each: 30,
        };
        budget.account(Payer::Uid(uid)).within(shares)
    };
    let (mut first, mut second) = (account(1).open(), account(2).open());
    assert_eq!(first.resize(31), Err(Exhausted::Share));
    first.resize(30).unwrap();
    assert_eq!(second.resize(21), Err(Exhausted::Total));
    second.resize(20).unwrap();
    // Others have what the budget has.
    assert!(charge(&budget, 3, 50).is_ok());
    // It is never more than the budget.
    let all = Shares {
        total: 200,
        each: 200,
    };
    let mut more = budget.account(Payer::Uid(3)).within(all).open();
    assert_eq!(more.resize(61), Err(Exhausted::Share));
    assert_eq!(more.resize(60), Err(Exhausted::Total));
}

#[test]
fn a_moved_charge_is_paid_once() {
    let (old, new) = (ByteBudget::new(SHARES), ByteBudget::new(SHARES));
    let mut moved = charge(&old, 1, 60).unwrap();
    moved.move_to(&new.account(Payer::Uid(1))).unwrap();
    assert_eq!((old.held(), new.held()), (0, 60));
    let mut stays = charge(&old, 1, 50).unwrap();
    let refused = stays.move_to(&new.account(Payer::Uid(1)));
    assert_eq!(refused, Err(Exhausted::Share));
    assert_eq!((old.held(), new.held()), (50, 60));
    // Whoever pays already needs no room for it twice.
    moved.move_to(&new.account(Payer::Uid(1))).unwrap();
    assert_eq!(new.held(), 60);
}

#[test]
fn a_connection_weighs_what_its_charges_say() {
    let places = UserPlaces::new(&Limits::default(), &Counters::default());
    let place = places.take(1, Payer::Stranger(1)).unwrap();
    let budget = ByteBudget::new(SHARES);
    let account = budget.account(Payer::Stranger(1)).weighed(place.weight());
    let (mut first, mut second) = (account.open(), account.open());
    for bytes in [20, 45, 40] {
        first.resize(bytes).unwrap();
        assert_eq!(place.weight().bytes(), bytes);
    }
    second.resize(10).unwrap();
    assert_eq!(second.resize(30), Err(Exhausted::Share));
    assert_eq!(place.weight().bytes(), 50);
    first.move_to(&budget.account(Payer::Uid(1))).unwrap();
    assert_eq!(place.weight().bytes(), 10);
    drop(second);
    assert_eq!(place.weight().bytes(), 0);
}

#[test]
fn a_charge_comes_back_when_its_holder_panics() {
    let budget = ByteBudget::new(SHARES);
    let held = charge(&budget, 1, 60).unwrap();
    let ended = std::thread::spawn(move || {
        let _held = held;
        panic!("on purpose");
    });
    assert!(ended.join().is_err());
    assert_eq!(budget.held(), 0);
}

proptest! {
    #[test]
    fn what_is_held_is_what_the_charges_say(
        steps in prop::collection::vec((0u32..3, 0usize..70, any::<bool>()), 0..60),
    ) {
        let budget = ByteBudget::new(SHARES);
        let mut charges: Vec<Charge> = Vec::new();
        for (uid, bytes, is_new) in steps {
            let at = usize::try_from(uid).unwrap();
            if is_new || at >= charges.len() {
                charges.extend(charge(&budget, uid, bytes).ok());
            } else if bytes % 2 == 0 {
                let _ = charges[at].resize(bytes);
            } else {
                charges.swap_remove(at);
            }
            let held: usize = charges.iter().map(Charge::bytes).sum();
            prop_assert_eq!(held, budget.held());
            prop_assert!(held <= SHARES.total);
        }
        drop(charges);
        prop_assert_eq!(budget.held(), 0);
        prop_assert!(budget.lock().by_payer.is_empty());
    }
}
