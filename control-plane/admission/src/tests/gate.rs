//! The gate with calls that await: nobody waits for ever, nobody who went away is waited for.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::Gates;

const BOUND: Duration = Duration::from_secs(20);

fn gate(limits: Limits) -> Arc<Gate<u8>> {
    Gate::new(limits, Gates::default().of("test"))
}

#[tokio::test]
async fn there_is_no_wait_where_there_is_room() {
    let gate = gate(places(2, 2));
    let unasked = || panic!("the class matters to those who wait");
    let first = gate.enter(&1, unasked).await.unwrap();
    let second = gate.enter(&1, unasked).await.unwrap();
    assert_eq!(gate.occupancy(), (2, 0));
    drop((first, second));
    assert_eq!(gate.occupancy(), (0, 0));
}

#[tokio::test]
async fn who_cannot_wait_is_sent_away_unasked() {
    let gate = gate(Limits {
        max_queued_per_caller: 1,
        ..places(1, 2)
    });
    let unasked = || panic!("the class matters to those who wait");
    let _place = gate.enter(&1, || Class::First).await.unwrap();
    let reason = async |caller| gate.enter(&caller, unasked).await.unwrap_err().reason;
    let mut own = Box::pin(gate.enter(&1, || Class::First));
    assert!(futures_util::poll!(&mut own).is_pending());
    assert_eq!(reason(1).await, Reason::CallerQueueFull);
    let mut other = Box::pin(gate.enter(&2, || Class::First));
    assert!(futures_util::poll!(&mut other).is_pending());
    assert_eq!(reason(3).await, Reason::QueueFull);
}

#[tokio::test]
async fn a_place_that_comes_free_wakes_the_next() {
    let gate = gate(places(1, 2));
    let place = gate.enter(&1, || Class::First).await.unwrap();
    let mut waiting = Box::pin(gate.enter(&2, || Class::First));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(place);
    let place = timeout(BOUND, waiting).await.unwrap().unwrap();
    assert_eq!(gate.occupancy(), (1, 0));
    drop(place);
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_the_queue() {
    let gate = gate(places(1, 2));
    let place = gate.enter(&1, || Class::First).await.unwrap();
    let mut gone = Box::pin(gate.enter(&2, || Class::First));
    let mut woken = Box::pin(gate.enter(&3, || Class::First));
    assert!(futures_util::poll!(&mut gone).is_pending());
    assert!(futures_util::poll!(&mut woken).is_pending());
    drop(gone);
    assert_eq!(gate.occupancy(), (1, 1));
    drop(place);
    // Its turn came, and it hangs up before it hears of it.
    drop(woken);
    assert_eq!(gate.occupancy(), (0, 0));
}

#[tokio::test]
async fn who_waits_too_long_is_sent_away() {
    let gate = gate(Limits {
        max_wait: Duration::from_millis(1),
        ..places(1, 2)
    });
    let _place = gate.enter(&1, || Class::First).await.unwrap();
    let waiting = timeout(BOUND, gate.enter(&2, || Class::Renewal));
    let refused = waiting.await.expect("the wait has an end").unwrap_err();
    assert_eq!(refused.reason, Reason::Waited);
    assert_eq!(gate.occupancy(), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_among_threads() {
    let gate = gate(places(3, 1_000));
    let mut calls = JoinSet::new();
    for call in 0..2_000u32 {
        let gate = gate.clone();
        calls.spawn(async move {
            let caller = u8::try_from(call % 7).unwrap();
            let class = if call % 2 == 0 {
                Class::First
            } else {
                Class::Renewal
            };
            let entering = gate.enter(&caller, || class);
            if call % 5 == 0 {
                // Hangs up while it waits, or in the moment of its turn.
                drop(timeout(Duration::from_micros(u64::from(call % 97)), entering).await);
                return 0;
            }
            let Ok(_place) = entering.await else {
                return 0;
            };
            tokio::task::yield_now().await;
            1
        });
    }
    let all = timeout(BOUND, calls.join_all()).await;
    let entered: u32 = all.expect("nobody waits for ever").into_iter().sum();
    assert!(entered > 0);
    assert_eq!(gate.occupancy(), (0, 0));
}
