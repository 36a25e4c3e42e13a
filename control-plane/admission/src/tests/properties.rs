//! What holds after every event of a random run.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    Come(u8, bool),
    Finish,
    Leave(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..6u8, any::<bool>()).prop_map(|(caller, renews)| Event::Come(caller, renews)),
        3 => Just(Event::Finish),
        1 => (0..64usize).prop_map(Event::Leave),
        1 => (0..3_000u64).prop_map(Event::Pass),
    ]
}

/// The queue beside what a plain bookkeeping says of it.
struct Run {
    limits: Limits,
    queue: Queue<u8, u64>,
    now: Instant,
    in_flight: usize,
    /// The name of a call, its caller and when it came.
    waiting: HashMap<u64, (u8, Ticket, Instant)>,
    calls: u64,
}

impl Run {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            queue: Queue::new(limits),
            now: Instant::now(),
            in_flight: 0,
            waiting: HashMap::new(),
            calls: 0,
        }
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Come(caller, renews) => self.come(*caller, *renews),
            Event::Finish if self.in_flight > 0 => self.finish(),
            Event::Finish => {}
            Event::Leave(which) => self.leave(*which),
            Event::Pass(millis) => self.now += Duration::from_millis(*millis),
        }
        self.invariant_of_counts();
        self.invariant_of_bounds();
        self.invariant_nobody_waits_while_there_is_room();
    }

    fn come(&mut self, caller: u8, renews: bool) {
        let class = if renews { Class::Renewal } else { Class::First };
        let name = self.calls;
        self.calls += 1;
        let free = self.limits.max_queued - self.waiting.len();
        let own = self.of(caller);
        match self.queue.offer(&caller, class, name, self.now) {
            Ok(Offer::Admitted) => self.in_flight += 1,
            Ok(Offer::Queued(ticket)) => {
                self.waiting.insert(name, (caller, ticket, self.now));
            }
            Err(refused) => {
                assert!((SOONEST_RETRY..=LATEST_RETRY).contains(&refused.retry_after));
                match refused.reason {
                    Reason::QueueFull => assert_eq!(free, 0),
                    Reason::CallerQueueFull => {
                        assert!(own >= free || own >= self.limits.max_queued_per_caller);
                    }
                    Reason::Rate => {}
                    Reason::Waited => panic!("the queue does not know of waits"),
                }
            }
        }
    }

    fn finish(&mut self) {
        match self.queue.finish(self.now) {
            Some(turn) => {
                let (.., since) = self.waiting.remove(&turn.waiter).expect("its turn once");
                assert_eq!(since, turn.since);
            }
            None => self.in_flight -= 1,
        }
    }

    fn leave(&mut self, which: usize) {
        let mut names: Vec<_> = self.waiting.keys().copied().collect();
        names.sort_unstable();
        if let Some(name) = names.get(which) {
            let (caller, ticket, _) = self.waiting.remove(name).unwrap();
            self.queue.leave(&caller, ticket);
        }
    }

    fn of(&self, caller: u8) -> usize {
        let own = self.waiting.values().filter(|(of, ..)| *of == caller);
        own.count()
    }

    fn invariant_of_counts(&self) {
        let counted = (self.in_flight, self.waiting.len());
        assert_eq!(self.queue.occupancy(), counted);
    }

    fn invariant_of_bounds(&self) {
        assert!(self.in_flight <= self.limits.max_in_flight);
        assert!(self.waiting.len() <= self.limits.max_queued);
        for caller in 0..6 {
            assert!(self.of(caller) <= self.limits.max_queued_per_caller);
        }
    }

    fn invariant_nobody_waits_while_there_is_room(&self) {
        assert!(self.waiting.is_empty() || self.in_flight == self.limits.max_in_flight);
    }
}

proptest! {
    #[test]
    fn invariants_hold_after_every_event(
        events in prop::collection::vec(event(), 1..400),
        max_in_flight in 1..4usize,
        max_queued in 1..20usize,
        max_queued_per_caller in 1..8usize,
        (per_second, burst) in (1..100u32, 1..100u32),
    ) {
        let rate = Rate::new(per_second, burst);
        let limits = Limits { max_queued_per_caller, rate, ..places(max_in_flight, max_queued) };
        let mut run = Run::new(limits);
        for event in &events {
            run.step(event);
        }
        // Everybody's turn comes, once.
        while run.in_flight > 0 {
            run.step(&Event::Finish);
        }
        prop_assert!(run.waiting.is_empty());
    }

    #[test]
    fn a_newcomer_waits_for_one_turn_of_each_other(
        floods in prop::collection::vec(1..40usize, 1..6),
        ended in 0..30usize,
    ) {
        let (mut queue, now) = (Names::new(places(1, 1_000)), Instant::now());
        for (caller, calls) in (0u8..).zip(&floods) {
            for _ in 0..*calls {
                offer(&mut queue, caller, Class::First, now).unwrap();
            }
        }
        for _ in 0..ended {
            queue.finish(now);
        }
        if offer(&mut queue, 99, Class::First, now).unwrap() == Offer::Admitted {
            return Ok(());
        }
        let turns = std::iter::from_fn(|| queue.finish(now)).map(|turn| turn.waiter);
        let before = turns.take_while(|caller| *caller != 99).count();
        prop_assert!(before <= floods.len(), "{before} went before");
    }

    #[test]
    fn no_renewal_is_starved(
        renewals in 1..30usize,
        rivals in 1..5u8,
        step_ms in 1..500u16,
    ) {
        let (mut queue, start) = (Names::new(places(1, 10_000)), Instant::now());
        offer(&mut queue, 0, Class::First, start).unwrap();
        for _ in 0..renewals {
            offer(&mut queue, 0, Class::Renewal, start).unwrap();
        }
        let (mut now, mut served, mut turns) = (start, 0, 0);
        while served < renewals {
            // Every rival always has something that was never issued.
            for rival in 1..=rivals {
                offer(&mut queue, rival, Class::First, now).unwrap();
            }
            now += Duration::from_millis(step_ms.into());
            let turn = queue.finish(now).unwrap();
            served += usize::from(turn.class == Class::Renewal);
            turns += 1;
            let promotion = usize::try_from(PROMOTED_AFTER.as_millis()).unwrap() / usize::from(step_ms);
            let bound = promotion + 1 + renewals * (usize::from(rivals) + 1);
            prop_assert!(turns <= bound, "{served} of {renewals} after {turns} turns");
        }
    }
}
