use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::ThreadId;
use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
/// Anything that a test waits for happens in this time.
const BOUND: Duration = Duration::from_secs(20);

fn bounds() -> Bounds {
    Bounds {
        calls: 2,
        waiting: 1,
        place_wait: BOUND,
        deadline: 10 * SECOND,
        trial_after: 40 * SECOND,
    }
}

fn called(in_flight: &mut InFlight, now: Instant) -> u64 {
    match in_flight.turn(now) {
        Ok(Turn::Call(number)) => number,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_overdue_call_hangs_until_it_returns() {
    let (mut in_flight, start) = (InFlight::new(bounds()), Instant::now());
    let lost = called(&mut in_flight, start);
    assert!(!in_flight.is_hung(start + 9 * SECOND));
    assert!(in_flight.is_hung(start + 10 * SECOND));
    assert_eq!(in_flight.turn(start + 10 * SECOND), Err(Refused::Hung));
    in_flight.returned(lost);
    assert!(!in_flight.is_hung(start + 10 * SECOND));
    called(&mut in_flight, start + 10 * SECOND);
}

#[test]
fn a_later_call_that_returns_ends_the_hang() {
    let (mut in_flight, start) = (InFlight::new(bounds()), Instant::now());
    let _lost = called(&mut in_flight, start);
    let later = called(&mut in_flight, start + SECOND);
    in_flight.returned(later);
    assert!(!in_flight.is_hung(start + 10 * SECOND));
    // Its place is lost, the other one is not.
    called(&mut in_flight, start + 10 * SECOND);
    assert_eq!(in_flight.turn(start + 10 * SECOND), Ok(Turn::Wait));
}

#[test]
fn one_caller_at_a_time_tries_what_hangs() {
    let (mut in_flight, start) = (InFlight::new(bounds()), Instant::now());
    let _lost = called(&mut in_flight, start);
    assert_eq!(in_flight.turn(start + 39 * SECOND), Err(Refused::Hung));
    let trial = called(&mut in_flight, start + 40 * SECOND);
    assert!(in_flight.is_hung(start + 40 * SECOND));
    assert_eq!(in_flight.turn(start + 40 * SECOND), Err(Refused::Hung));
    in_flight.returned(trial);
    assert!(!in_flight.is_hung(start + 41 * SECOND));
}

#[test]
fn one_caller_is_promised_a_trial() {
    let (mut in_flight, start) = (InFlight::new(bounds()), Instant::now());
    let _lost = called(&mut in_flight, start);
    assert_eq!(in_flight.admits(start + 39 * SECOND), Err(Refused::Hung));
    assert_eq!(in_flight.admits(start + 40 * SECOND), Ok(()));
    assert_eq!(in_flight.admits(start + 41 * SECOND), Err(Refused::Hung));
    // It does not come: another one may.
    assert_eq!(in_flight.admits(start + 50 * SECOND), Ok(()));
    let trial = called(&mut in_flight, start + 51 * SECOND);
    assert_eq!(in_flight.admits(start + 61 * SECOND), Err(Refused::Hung));
    in_flight.returned(trial);
    for _ in 0..3 {
        assert_eq!(in_flight.admits(start + 61 * SECOND), Ok(()), "it answers");
    }
}

#[test]
fn full_queue_admits_nobody() {
    let (mut in_flight, start) = (InFlight::new(bounds()), Instant::now());
    let first = called(&mut in_flight, start);
    called(&mut in_flight, start);
    assert_eq!(in_flight.admits(start), Ok(()));
    assert_eq!(in_flight.turn(start), Ok(Turn::Wait));
    in_flight.queue().unwrap();
    assert_eq!(in_flight.admits(start), Err(Refused::Full));
    assert_eq!(
        in_flight.turn(start),
        Ok(Turn::Wait),
        "who waits goes on waiting"
    );
    in_flight.returned(first);
    assert_eq!(in_flight.admits(start), Ok(()));
}

#[test]
fn no_trial_takes_more_than_the_places_there_are() {
    let (mut in_flight, start) = (InFlight::new(bounds()), Instant::now());
    let _lost = called(&mut in_flight, start);
    let trial = called(&mut in_flight, start + 40 * SECOND);
    let later = start + 1_000 * SECOND;
    assert_eq!(in_flight.turn(later), Err(Refused::Hung));
    in_flight.returned(trial);
    assert!(!in_flight.is_hung(later), "it came later than what is lost");
}

#[test]
fn lost_places_alone_make_it_hang() {
    let (mut in_flight, start) = (InFlight::new(bounds()), Instant::now());
    called(&mut in_flight, start);
    let good = called(&mut in_flight, start);
    in_flight.returned(good);
    let lost = called(&mut in_flight, start + SECOND);
    assert!(
        in_flight.is_hung(start + 11 * SECOND),
        "nothing came after it"
    );
    in_flight.returned(lost);
    assert!(!in_flight.is_hung(start + 11 * SECOND));
}

#[test]
fn a_look_has_a_place_of_its_own_and_proves_nothing() {
    let (mut in_flight, start) = (InFlight::new(bounds()), Instant::now());
    called(&mut in_flight, start);
    called(&mut in_flight, start);
    let look = in_flight
        .look(start + SECOND)
        .expect("a place beside the calls");
    assert_eq!(in_flight.look(start + SECOND), None, "one at a time");
    in_flight.returned(look);
    assert!(in_flight.is_hung(start + 10 * SECOND));
    let look = in_flight.look(start + 10 * SECOND).unwrap();
    let mut idle = InFlight::new(bounds());
    idle.look(start).unwrap();
    assert!(idle.is_hung(start + 10 * SECOND), "a look may hang too");
    in_flight.returned(look);
}

/// A device that answers once it is let.
struct Device {
    calls: Arc<Calls>,
    gate: Arc<Mutex<Receiver<()>>>,
    let_go: Sender<()>,
}

impl Device {
    fn new(bounds: Bounds) -> Self {
        let (let_go, gate) = channel();
        Self {
            calls: Calls::new(bounds),
            gate: Arc::new(Mutex::new(gate)),
            let_go,
        }
    }

    /// A call that returns, once it is let, the thread that it ran in.
    fn call(&self) -> Result<ThreadId, Refused> {
        let gate = self.gate.clone();
        let call = move || {
            gate.lock().unwrap().recv().unwrap();
            thread::current().id()
        };
        self.calls.run(call, drop)
    }

    fn until(&self, holds: impl Fn(&InFlight) -> bool) {
        let end = Instant::now() + BOUND;
        while !holds(&self.calls.in_flight()) {
            assert!(Instant::now() < end, "it holds in time");
            thread::yield_now();
        }
    }
}

/// Short enough to be waited for.
fn impatient() -> Bounds {
    Bounds {
        deadline: Duration::from_millis(20),
        trial_after: BOUND,
        ..bounds()
    }
}

#[test]
fn a_caller_is_sent_away_at_the_deadline() {
    let device = Device::new(impatient());
    assert_eq!(device.call(), Err(Refused::Hung));
    assert!(device.calls.is_hung());
    assert_eq!(device.call(), Err(Refused::Hung), "without a call");
    assert_eq!(device.calls.in_flight().calls(), 1);
    device.let_go.send(()).unwrap();
    device.until(|in_flight| in_flight.calls() == 0);
    assert!(!device.calls.is_hung());
}

#[test]
fn what_comes_too_late_is_handed_over() {
    let device = Device::new(impatient());
    let gate = device.gate.clone();
    let (late, unheard) = channel();
    let call = move || gate.lock().unwrap().recv().map(|()| "made");
    let answer = device.calls.run(call, move |made| late.send(made).unwrap());
    assert_eq!(answer, Err(Refused::Hung));
    device.let_go.send(()).unwrap();
    assert_eq!(unheard.recv_timeout(BOUND), Ok(Ok("made")));
}

#[test]
fn a_caller_waits_for_a_place_and_those_beyond_the_bound_do_not() {
    let device = Device::new(bounds());
    thread::scope(|scope| {
        let callers: Vec<_> = (0..3).map(|_| scope.spawn(|| device.call())).collect();
        device.until(|in_flight| in_flight.waiting == 1);
        assert_eq!(device.call(), Err(Refused::Full));
        for _ in 0..3 {
            device.let_go.send(()).unwrap();
        }
        for caller in callers {
            caller.join().unwrap().unwrap();
        }
    });
}

#[test]
fn waiting_for_a_place_has_an_end() {
    let device = Device::new(Bounds {
        place_wait: Duration::ZERO,
        ..bounds()
    });
    thread::scope(|scope| {
        let callers: Vec<_> = (0..2).map(|_| scope.spawn(|| device.call())).collect();
        device.until(|in_flight| in_flight.calls() == 2);
        assert_eq!(device.call(), Err(Refused::Full));
        assert_eq!(device.calls.in_flight().waiting, 0);
        for caller in callers {
            device.let_go.send(()).unwrap();
            drop(caller);
        }
    });
}

#[test]
fn threads_are_no_more_than_places() {
    let device = Device::new(Bounds {
        waiting: 64,
        ..bounds()
    });
    let seen = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..8 {
                    device.let_go.send(()).unwrap();
                    let thread = device.call().unwrap();
                    seen.lock().unwrap().insert(thread);
                }
            });
        }
    });
    assert!(seen.lock().unwrap().len() <= 2, "{seen:?}");
}

#[test]
fn a_call_that_panics_leaves_its_place() {
    let calls = Calls::new(bounds());
    for _ in 0..8 {
        let broken = calls.run(|| panic!("on purpose"), drop::<()>);
        assert_eq!(broken, Err(Refused::Broken));
    }
    assert_eq!(calls.run(|| 1, drop), Ok(1));
}
