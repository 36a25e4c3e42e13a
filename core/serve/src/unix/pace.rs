//! How often users may connect who may have nothing: pure.
//!
//! Each uid has a burst and a rate, kept as one moment (the generic cell rate algorithm). Whoever may
//! create user namespaces has thousands of uids, so these moments lie in a fixed number of slots, in
//! an order of chance: two uids in one slot share it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::ConnectRate;

/// Slots of uids: with so many, a user seldom shares one with a flood, and a flood of many uids that
/// fills all of them connects more often than a machine can. 16 KiB.
const SLOTS: usize = 1_024;

/// Who connected lately, and how often.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    most_ahead: Duration,
    order: RandomState,
    /// When the burst of a slot is whole again.
    whole_at: Box<[Option<Instant>; SLOTS]>,
}

impl Pace {
    pub(super) fn new(rate: ConnectRate) -> Self {
        let interval = Duration::from_secs(1) / rate.a_second;
        Self {
            interval,
            most_ahead: interval * rate.burst,
            order: RandomState::new(),
            whole_at: Box::new([None; SLOTS]),
        }
    }

    /// Whether one more connection of this uid is let in.
    pub(super) fn admits(&mut self, uid: u32, now: Instant) -> bool {
        let slot = self.slot(uid);
        let whole_at = &mut self.whole_at[slot];
        let next = whole_at.map_or(now, |at| at.max(now)) + self.interval;
        let is_admitted = next.duration_since(now) <= self.most_ahead;
        if is_admitted {
            *whole_at = Some(next);
        }
        is_admitted
    }

    fn slot(&self, uid: u32) -> usize {
        let slots = u64::try_from(SLOTS).expect("they are few");
        let slot = self.order.hash_one(uid) % slots;
        usize::try_from(slot).expect("it is less than the number of slots")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: ConnectRate = ConnectRate {
        burst: 20,
        a_second: 10,
    };

    /// How many of so many connections of this uid, one each `pause`, are let in.
    fn admitted(pace: &mut Pace, uid: u32, (count, pause): (u32, Duration), begin: Instant) -> u32 {
        let mut now = begin;
        let mut admitted = 0;
        for _ in 0..count {
            admitted += u32::from(pace.admits(uid, now));
            now += pause;
        }
        admitted
    }

    #[test]
    fn user_that_connects_without_end_is_held_to_a_rate() {
        let (mut pace, now) = (Pace::new(RATE), Instant::now());
        let ten_seconds = (10_000, Duration::from_millis(1));
        let count = admitted(&mut pace, 1, ten_seconds, now);
        assert!((119..=120).contains(&count), "{count}");
        // Whoever waits has the whole burst again.
        let later = now + Duration::from_secs(60);
        assert_eq!(admitted(&mut pace, 1, (100, Duration::ZERO), later), 20);
    }

    #[test]
    fn user_that_keeps_to_the_rate_is_never_refused() {
        let (mut pace, now) = (Pace::new(RATE), Instant::now());
        let steadily = (1_000, Duration::from_millis(100));
        assert_eq!(admitted(&mut pace, 1, steadily, now), 1_000);
    }

    #[test]
    fn one_user_takes_nothing_from_others() {
        let (mut pace, now) = (Pace::new(RATE), Instant::now());
        let slot = pace.slot(1);
        admitted(&mut pace, 1, (100, Duration::ZERO), now);
        let others = (2..200).filter(|uid| pace.slot(*uid) != slot);
        let others: Vec<_> = others.collect();
        assert!(others.len() > 100, "{} have another slot", others.len());
        assert!(others.into_iter().all(|uid| pace.admits(uid, now)));
    }

    #[test]
    fn slots_are_a_fixed_number() {
        let mut pace = Pace::new(RATE);
        let now = Instant::now();
        let admitted = (0..100_000).filter(|uid| pace.admits(*uid, now)).count();
        assert_eq!(admitted, SLOTS * 20);
        assert!(pace.whole_at.iter().all(Option::is_some));
    }
}
