use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MOST: usize = 16;

/// One thing that happens to a choice.
#[derive(Clone, Debug)]
enum Event {
    PassedBy(usize),
    Ended(usize, bool, bool),
    AllFailed,
    Later(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..MOST).prop_map(Event::PassedBy),
        (0..MOST, any::<bool>(), any::<bool>()).prop_map(|(a, b, c)| Event::Ended(a, b, c)),
        Just(Event::AllFailed),
        (0..90_000u64).prop_map(Event::Later),
    ]
}

/// Applies it; when it is then.
fn apply(choice: &mut Choice, event: &Event, now: Instant) -> Instant {
    let count = choice.own.len();
    match *event {
        Event::PassedBy(at) => choice.passed_by(at % count, now),
        Event::Ended(at, was_steady, was_silent) => {
            let end = End {
                address: Some(at % count),
                was_steady,
                was_silent,
            };
            choice.ended(end, now);
        }
        Event::AllFailed => {
            (0..count).for_each(|at| choice.passed_by(at, now));
            choice.ended(failure(None), now);
        }
        Event::Later(millis) => return now + Duration::from_millis(millis),
    }
    now
}

fn failure(address: Option<usize>) -> End {
    End {
        address,
        was_steady: false,
        was_silent: false,
    }
}

/// A choice after a history, and when it is.
fn after(count: usize, draws: &[f64], events: &[Event]) -> (Choice, Instant) {
    let mut draws = draws.iter().copied().cycle();
    let mut choice = Choice::new(count, || draws.next().unwrap_or(0.5));
    let mut now = Instant::now();
    for event in events {
        now = apply(&mut choice, event, now);
    }
    (choice, now)
}

proptest! {
    #[test]
    fn no_address_is_ever_left_out(
        count in 1..=MOST,
        draws in vec(-1.0f64..=2.0, 1..20),
        events in vec(event(), 0..40),
    ) {
        let (choice, now) = after(count, &draws, &events);
        let mut order = choice.order(now);
        order.sort_unstable();
        prop_assert_eq!(order, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn what_failed_lately_comes_last(
        count in 2..=MOST,
        draws in vec(0.0f64..=1.0, 1..20),
        events in vec(event(), 0..40),
        failed in 0..MOST,
    ) {
        let (mut choice, now) = after(count, &draws, &events);
        let now = now + Duration::from_millis(1);
        choice.ended(failure(Some(failed % count)), now);
        prop_assert_eq!(choice.order(now)[count - 1], failed % count);
    }

    /// However many of the addresses answer and are of no use: one that is good is reached within
    /// as many tries as there are addresses.
    #[test]
    fn bad_addresses_hide_no_good_one(
        count in 2..=MOST,
        draws in vec(0.0f64..=1.0, 1..20),
        events in vec(event(), 0..40),
        good in 0..MOST,
        pauses in vec(0..3_000u64, MOST),
    ) {
        let (mut choice, mut now) = after(count, &draws, &events);
        now += Duration::from_millis(1);
        let good = good % count;
        let mut tries = 0;
        loop {
            let first = choice.order(now)[0];
            if first == good {
                break;
            }
            choice.ended(failure(Some(first)), now);
            now += Duration::from_millis(1 + pauses[tries]);
            tries += 1;
            prop_assert!(tries < count, "{tries} tries of {count}");
        }
    }

    /// A wait that grows comes once for each round, so a good address never waits for a bad one.
    #[test]
    fn round_is_over_once_each_address_failed(
        count in 1..=MOST,
        draws in vec(0.0f64..=1.0, 1..20),
    ) {
        let (mut choice, now) = after(count, &draws, &[]);
        for _ in 0..3 {
            let order = choice.order(now);
            for (tried, at) in order.iter().enumerate() {
                let is_over = choice.ended(failure(Some(*at)), now);
                prop_assert_eq!(is_over, tried + 1 == count);
            }
        }
    }

    #[test]
    fn failure_is_forgotten_in_time(
        count in 2..=MOST,
        draws in vec(0.0f64..=1.0, 1..20),
        failed in 0..MOST,
    ) {
        let (mut choice, now) = after(count, &draws, &[]);
        let own = choice.order(now);
        let failed = failed % count;
        choice.passed_by(failed, now);
        prop_assert!(!choice.has_better(own[0], now) || count > 2 || own[0] == failed);
        prop_assert_eq!(choice.order(now + REMEMBERED), own);
    }

    #[test]
    fn moves_for_what_is_unavailable_everywhere_are_bounded(
        count in 1..=MOST,
        draws in vec(0.0f64..=1.0, 1..20),
    ) {
        let (mut choice, now) = after(count, &draws, &[]);
        let (mut at, mut moves) = (choice.order(now)[0], 0);
        while choice.has_better(at, now) {
            choice.ended(failure(Some(at)), now);
            at = choice.order(now)[0];
            moves += 1;
            prop_assert!(moves < count);
        }
    }
}

#[test]
fn fleet_spreads_over_the_addresses() {
    let mut random = fastrand::Rng::with_seed(7);
    let (fleet, count) = (3_000, 3);
    let mut began = vec![0; count];
    let mut went_on = vec![0; count];
    let now = Instant::now();
    for _ in 0..fleet {
        let mut choice = Choice::new(count, || random.f64());
        let first = choice.order(now)[0];
        began[first] += 1;
        if first == 0 {
            choice.ended(failure(Some(0)), now);
            went_on[choice.order(now)[0]] += 1;
        }
    }
    assert!(began.iter().all(|n| (900..1_100).contains(n)), "{began:?}");
    assert_eq!(went_on[0], 0, "the one that died");
    assert!(went_on[1..].iter().all(|n| *n > 400), "{went_on:?}");
}

#[test]
fn steady_connection_begins_a_new_round() {
    let (mut choice, now) = after(2, &[0.0], &[]);
    assert!(!choice.ended(failure(Some(0)), now));
    let steady = End {
        was_steady: true,
        ..failure(Some(1))
    };
    assert!(!choice.ended(steady, now), "the other may be back");
}

#[test]
fn silence_in_a_row_earns_patience_until_none_was_for_long() {
    let (mut choice, now) = after(2, &[0.0], &[]);
    let first = choice.patience(now);
    choice.was_silent(now);
    let patient = choice.patience(now);
    assert!(patient.silence > first.silence && patient.hello > first.hello);
    // One that lasted some seconds ends no row: where all are too slow there is one each time.
    let steady = End {
        was_steady: true,
        ..failure(Some(0))
    };
    choice.ended(steady, now);
    assert_eq!(choice.patience(now), patient);
    let silent = End {
        was_silent: true,
        ..failure(Some(0))
    };
    let later = now + SILENCE_REMEMBERED - Duration::from_millis(1);
    choice.ended(silent, later);
    assert!(choice.patience(later).silence > patient.silence);
    let forgotten = later + SILENCE_REMEMBERED;
    assert_eq!(choice.patience(forgotten), first);
    choice.was_silent(forgotten);
    assert_eq!(choice.patience(forgotten), patient, "a new row");
}

/// However many false addresses are told: where those fail that led to the control plane, few of the others come
/// before they are tried again, and none comes before one that is good.
#[test]
fn unproven_addresses_cost_few_tries_before_one_that_failed() {
    let (mut choice, now) = after(2, &[0.0], &[]);
    (2..2 + MOST).for_each(|place| choice.learn(place, 0.0));
    let order = choice.order(now);
    assert!(order[..2].iter().all(|at| *at < 2), "{order:?}");
    choice.passed_by(0, now);
    choice.passed_by(1, now);
    let order = choice.order(now);
    let place = |address: usize| order.iter().position(|at| *at == address).unwrap();
    assert_eq!(
        [place(0).min(place(1)), place(0).max(place(1))],
        [UNPROVEN_FIRST, UNPROVEN_FIRST + 1]
    );
    assert_eq!(order.len(), 2 + MOST, "none is left out");
    // One that led there is one of them.
    choice.proved(7);
    assert_eq!(choice.order(now)[0], 7);
    choice.forget(7);
    assert!(!choice.order(now).contains(&7));
}

/// A wish was followed after a round in which everybody failed.
#[test]
fn preferred_address_is_first_in_every_round() {
    let now = Instant::now();
    for count in 2..6 {
        for rounds in 0..2 * count {
            let (mut choice, _) = after(count, &[0.3, 0.8], &vec![Event::AllFailed; rounds]);
            let later = now + Duration::from_secs(3_600);
            for place in 0..count {
                choice.prefer(place);
                assert_eq!(
                    choice.order(later).first(),
                    Some(&place),
                    "{count} {rounds}"
                );
            }
        }
    }
}

/// One that was told and cannot be reached is behind one that answers and refuses.
#[test]
fn unproven_address_that_failed_holds_up_no_round() {
    let now = Instant::now();
    let mut choice = Choice::new(1, || 0.5);
    choice.learn(1, 0.5);
    choice.passed_by(1, now);
    assert!(choice.ended(failure(Some(0)), now), "both failed");
    assert!(
        choice.ended(failure(Some(0)), now),
        "the other is not tried now"
    );
}
