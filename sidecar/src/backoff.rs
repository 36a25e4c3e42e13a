//! How long to wait after a failure: exponential, with full jitter.
//!
//! Full jitter (a uniform draw between zero and the exponential ceiling) spreads a fleet that lost
//! the same control plane at the same moment better than a jitter around the ceiling would.

use std::time::Duration;

/// The ceiling of the first wait.
pub(crate) const FIRST: Duration = Duration::from_millis(200);
/// The ceiling of every later wait: nobody waits longer than this.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);

/// A connection that lasted this long was good: the next failure begins a new row. One that ends
/// sooner goes on with the row, so that a control plane which answers and hangs up is not dialled
/// without end.
pub(crate) const STEADY: Duration = Duration::from_secs(10);
/// The longest wait of a sidecar whose stream was taken over by another with the same node
/// credential. Without it the two would take the stream from each other all the time.
pub(crate) const REPLACED: Duration = Duration::from_secs(60);

/// Failures in a row, and the wait that they earn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a failure and gives the wait before the next try, for a draw in `0.0..=1.0`.
    pub(crate) fn fail(&mut self, draw: f64) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(draw.clamp(0.0, 1.0))
    }

    /// The wait before another address is tried that may be good: it does not grow, and spreads those
    /// who lost the same control plane at the same moment.
    pub(crate) fn elsewhere(draw: f64) -> Duration {
        FIRST.mul_f64(draw.clamp(0.0, 1.0))
    }

    /// The wait of who was replaced: half of [`REPLACED`] at least, so that the other one is left
    /// in peace, and drawn, so that two of them do not keep in step.
    pub(crate) fn replaced(&self, draw: f64) -> Duration {
        REPLACED.mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0)
    }

    /// Notes that the control plane asked for patience and gives the wait before the next try:
    /// never less than it asked for, and up to half as much again, so that those it sent away do
    /// not come back at once.
    pub(crate) fn pushed_back(&mut self, asked: Duration, draw: f64) -> Duration {
        let spread = asked.mul_f64(1.0 + draw.clamp(0.0, 1.0) / 2.0);
        self.fail(draw).max(spread)
    }

    /// Starts over after a success.
    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    #[cfg(test)]
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    fn ceiling(&self) -> Duration {
        // 2^5 × 200 ms is above the longest wait already.
        (FIRST * 2u32.pow(self.failures.min(5))).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ceiling_doubles_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..7).map(|_| backoff.fail(1.0).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        backoff.succeed();
        assert_eq!(backoff.fail(1.0), FIRST);
    }

    proptest! {
        #[test]
        fn a_wait_never_exceeds_the_longest(failures in 0u32.., draw in -1.0f64..=2.0) {
            let mut backoff = Backoff { failures };
            prop_assert!(backoff.fail(draw) <= LONGEST);
            prop_assert!(backoff.failures >= failures);
        }

        #[test]
        fn who_was_replaced_waits_half_at_least(failures in 0u32.., draw in -1.0f64..=2.0) {
            let wait = Backoff { failures }.replaced(draw);
            prop_assert!((REPLACED / 2..=REPLACED).contains(&wait));
        }

        #[test]
        fn a_pushback_is_obeyed_and_spread(
            failures in 0u32..100,
            asked in 0..30_000u64,
            draw in -1.0f64..=2.0,
        ) {
            let asked = Duration::from_millis(asked);
            let wait = Backoff { failures }.pushed_back(asked, draw);
            prop_assert!(wait >= asked);
            prop_assert!(wait <= LONGEST.max(asked + asked / 2));
        }

        #[test]
        fn full_jitter_starts_at_zero(failures in 0u32..100) {
            prop_assert_eq!(Backoff { failures }.fail(0.0), Duration::ZERO);
        }
    }
}
