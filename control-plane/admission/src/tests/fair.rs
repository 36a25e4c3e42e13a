//! Who goes before whom.

use super::*;

fn order(queue: &mut Names, now: Instant) -> Vec<u8> {
    std::iter::from_fn(|| queue.finish(now))
        .map(|turn| turn.waiter)
        .collect()
}

#[test]
fn a_flood_delays_another_by_one_turn_only() {
    let (mut queue, now) = (Names::new(places(1, 20_001)), Instant::now());
    for _ in 0..10_000 {
        offer(&mut queue, 1, Class::First, now).unwrap();
    }
    offer(&mut queue, 2, Class::First, now).unwrap();
    let order = order(&mut queue, now);
    assert_eq!(order[..3], [1, 2, 1]);
    assert_eq!(order.len(), 10_000);
}

#[test]
fn one_flood_leaves_room_for_others() {
    let (mut queue, now) = (Names::new(places(1, 100)), Instant::now());
    let taken = (0..1_000).filter(|_| offer(&mut queue, 1, Class::First, now).is_ok());
    assert_eq!(taken.count(), 1 + 50, "one runs, half of the places wait");
    for caller in 2..=51 {
        assert!(offer(&mut queue, caller, Class::First, now).is_ok());
    }
    let full = offer(&mut queue, 52, Class::First, now);
    assert_eq!(full, Err(Reason::QueueFull));
}

#[test]
fn never_issued_goes_before_routine_renewal() {
    let (mut queue, now) = (Names::new(places(1, 10)), Instant::now());
    offer(&mut queue, 0, Class::First, now).unwrap();
    offer(&mut queue, 1, Class::Renewal, now).unwrap();
    offer(&mut queue, 2, Class::First, now).unwrap();
    offer(&mut queue, 1, Class::First, now).unwrap();
    assert_eq!(order(&mut queue, now), [2, 1, 1]);
}

#[test]
fn an_aged_renewal_is_promoted() {
    let (mut queue, start) = (Names::new(places(1, 10)), Instant::now());
    offer(&mut queue, 0, Class::First, start).unwrap();
    offer(&mut queue, 1, Class::Renewal, start).unwrap();
    let mut now = start;
    let mut waited_for = 0;
    loop {
        offer(&mut queue, 2, Class::First, now).unwrap();
        now += PROMOTED_AFTER / 4;
        waited_for += 1;
        if queue.finish(now).unwrap().waiter == 1 {
            break;
        }
        assert!(waited_for < 10, "a renewal is starved");
    }
    assert!(now - start >= PROMOTED_AFTER);
}

#[test]
fn who_leaves_is_passed_over() {
    let (mut queue, now) = (Names::new(places(1, 10)), Instant::now());
    offer(&mut queue, 0, Class::First, now).unwrap();
    let mut tickets = Vec::new();
    for caller in [1, 2, 3] {
        let class = if caller == 2 {
            Class::First
        } else {
            Class::Renewal
        };
        let Offer::Queued(ticket) = offer(&mut queue, caller, class, now).unwrap() else {
            panic!("no room");
        };
        tickets.push(ticket);
    }
    queue.leave(&2, tickets[1]);
    queue.leave(&1, tickets[0]);
    queue.leave(&1, tickets[0]);
    assert_eq!(queue.occupancy(), (1, 1));
    offer(&mut queue, 1, Class::Renewal, now).unwrap();
    let later = now + PROMOTED_AFTER;
    let mut order = order(&mut queue, later);
    order.sort_unstable();
    assert_eq!(order, [1, 3]);
    assert_eq!(queue.occupancy(), (0, 0));
}
