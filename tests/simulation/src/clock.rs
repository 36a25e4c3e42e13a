//! The wall clock of one machine, which may be wrong: set to another time, and too fast or too slow. What
//! is timed, and not dated, goes by the one clock that all machines share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use countersign_control_plane::clock::Clock;

/// The longest and the shortest step, in seconds.
const STEPS: (f64, f64) = (2.0, 7_200.0);
/// How much too fast or too slow a clock is, at most.
const MOST_DRIFT: f64 = 0.05;

/// The clock of a machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostClock(Arc<Mutex<Option<Wrong>>>);

/// How a clock is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrong {
    /// Seconds.
    pub(crate) step: f64,
    /// Seconds in a second.
    pub(crate) drift: f64,
    since: Instant,
}

impl Wrong {
    pub(crate) fn drawn(random: &mut Rng) -> Self {
        let (shortest, longest) = STEPS;
        let step = shortest * (longest / shortest).powf(random.f64());
        let sign = |random: &mut Rng| if random.bool() { 1.0 } else { -1.0 };
        Self {
            step: sign(random) * step,
            drift: sign(random) * MOST_DRIFT * random.f64(),
            since: Instant::now(),
        }
    }

    fn by(&self) -> SignedDuration {
        let drift = self.drift * self.since.elapsed().as_secs_f64();
        SignedDuration::from_secs_f64(self.step + drift)
    }
}

impl HostClock {
    /// From now on it is wrong, or right.
    pub(crate) fn set(&self, wrong: Option<Wrong>) {
        *self.wrong() = wrong;
    }

    pub(crate) fn now(&self) -> Timestamp {
        let now = Clock::wall().now();
        let by = self
            .wrong()
            .map_or(SignedDuration::ZERO, |wrong| wrong.by());
        now.checked_add(by).unwrap_or(now)
    }

    fn wrong(&self) -> MutexGuard<'_, Option<Wrong>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
