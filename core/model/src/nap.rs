//! Waiting for a moment of the wall clock.
//!
//! The timers of a process run on a clock that stands still while the machine is suspended, and
//! does not follow the wall clock when that is set. Whoever waits for a moment of the wall clock
//! therefore naps: a short time, a look at the clock, the next nap. So what ended meanwhile is seen
//! within [`LONGEST_NAP`].

use std::time::Duration;

use jiff::Timestamp;

/// The longest time without a look at the wall clock. Each open stream naps: a hundred wakes a
/// second for a thousand of them, of some microseconds each.
pub const LONGEST_NAP: Duration = Duration::from_secs(10);

/// How long to wait at `now` before the clock is looked at again: until the deadline, or a part of
/// the way. Zero once it is over.
pub fn nap(now: Timestamp, deadline: Timestamp) -> Duration {
    let left = Duration::try_from(deadline.duration_since(now));
    left.unwrap_or_default().min(LONGEST_NAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_end_at_the_deadline_or_before() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(nap(at(100), at(103)), Duration::from_secs(3));
        assert_eq!(nap(at(100), at(7_300)), LONGEST_NAP);
        assert_eq!(nap(at(100), Timestamp::MAX), LONGEST_NAP);
        assert_eq!(nap(at(100), at(100)), Duration::ZERO);
        // The machine was suspended beyond the deadline.
        assert_eq!(nap(at(7_300), at(103)), Duration::ZERO);
    }
}
