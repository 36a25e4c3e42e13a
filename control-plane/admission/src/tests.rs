mod fair;
mod gate;
mod properties;

use std::time::Instant;

use super::queue::{Offer, Queue, Ticket};
use super::rate::Used;
use super::*;

/// Limits that only the number of places sets.
fn places(max_in_flight: usize, max_queued: usize) -> Limits {
    Limits {
        max_in_flight,
        max_queued,
        max_queued_per_caller: max_queued,
        max_wait: MAX_WAIT,
        rate: Rate::new(u32::MAX, u32::MAX),
        counts: Counts::Calls,
    }
}

/// A queue whose waiting calls bear their caller as a name.
type Names = Queue<u8, u8>;

fn offer(queue: &mut Names, caller: u8, class: Class, now: Instant) -> Result<Offer, Reason> {
    let offered = queue.offer(&caller, class, caller, now);
    offered.map_err(|refused| refused.reason)
}

#[test]
fn a_rate_allows_its_burst_and_then_its_pace() {
    let rate = Rate::new(10, 5);
    let (mut used, start) = (Used::default(), Instant::now());
    for _ in 0..5 {
        assert_eq!(rate.wait(&used, start), Duration::ZERO);
        rate.count(&mut used, start);
    }
    assert_eq!(rate.wait(&used, start), Duration::from_millis(100));
    let later = start + Duration::from_millis(100);
    assert_eq!(rate.wait(&used, later), Duration::ZERO);
    rate.count(&mut used, later);
    assert_eq!(rate.wait(&used, later), Duration::from_millis(100));
    assert!(!used.is_clear(later) && used.is_clear(start + Duration::from_millis(600)));
}

#[test]
fn who_used_up_its_rate_is_told_when_to_return() {
    let limits = Limits {
        rate: Rate::new(2, 1),
        ..places(9, 9)
    };
    let (mut queue, now) = (Names::new(limits), Instant::now());
    assert_eq!(offer(&mut queue, 1, Class::First, now), Ok(Offer::Admitted));
    let refused = queue.offer(&1, Class::First, 1, now).unwrap_err();
    assert_eq!(refused.reason, Reason::Rate);
    assert_eq!(refused.retry_after, Duration::from_millis(500));
    assert_eq!(offer(&mut queue, 2, Class::First, now), Ok(Offer::Admitted));
    let then = now + refused.retry_after;
    assert_eq!(
        offer(&mut queue, 1, Class::First, then),
        Ok(Offer::Admitted)
    );
}

#[test]
fn only_failures_count_where_it_says_so() {
    let limits = Limits {
        rate: Rate::new(1, 2),
        counts: Counts::Failures,
        ..places(99, 9)
    };
    let (mut queue, now) = (Names::new(limits), Instant::now());
    for _ in 0..50 {
        assert_eq!(offer(&mut queue, 1, Class::First, now), Ok(Offer::Admitted));
    }
    queue.count(&1, now);
    queue.count(&1, now);
    assert_eq!(offer(&mut queue, 1, Class::First, now), Err(Reason::Rate));
    assert_eq!(offer(&mut queue, 2, Class::First, now), Ok(Offer::Admitted));
}

#[test]
fn a_full_queue_refuses_with_the_time_it_needs() {
    let (mut queue, mut now) = (Names::new(places(1, 4)), Instant::now());
    for caller in 0..5 {
        offer(&mut queue, caller, Class::First, now).unwrap();
    }
    for _ in 0..20 {
        now += Duration::from_millis(400);
        let turn = queue.finish(now).unwrap();
        offer(&mut queue, turn.waiter, Class::First, now).unwrap();
    }
    let refused = queue.offer(&9, Class::First, 9, now).unwrap_err();
    assert_eq!(refused.reason, Reason::QueueFull);
    let expected = Duration::from_millis(1_200)..Duration::from_millis(1_700);
    assert!(expected.contains(&refused.retry_after), "{refused:?}");
}

#[test]
fn callers_that_are_quiet_are_forgotten() {
    let (mut queue, start) = (Queue::<u32, ()>::new(places(usize::MAX, 1)), Instant::now());
    for caller in 0..100_000u32 {
        let now = start + Duration::from_micros(u64::from(caller));
        assert_eq!(queue.admit(&caller, now), Ok(true));
    }
    assert!(queue.callers_known() <= 2 * 1_024);
}
