//! A sustained rate with a burst, as the generic cell rate algorithm: one moment for each caller.

use std::time::{Duration, Instant};

/// So many a second in the long run, and so many at once.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    interval: Duration,
    /// How far a caller may be ahead of its rate.
    tolerance: Duration,
}

/// What a caller used: the moment at which all of it is paid for. `None` where it never used any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used(Option<Instant>);

impl Rate {
    /// At least one a second and one at once.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            tolerance: interval.saturating_mul(burst.max(1) - 1),
        }
    }

    /// How long the caller has to wait until one more fits; zero where it fits now.
    pub(crate) fn wait(&self, used: &Used, now: Instant) -> Duration {
        let ahead = used.0.map(|at| at.saturating_duration_since(now));
        ahead.unwrap_or_default().saturating_sub(self.tolerance)
    }

    /// Counts one.
    pub(crate) fn count(&self, used: &mut Used, now: Instant) {
        let from = used.0.map_or(now, |at| at.max(now));
        used.0 = from.checked_add(self.interval).or(used.0);
    }
}

impl Used {
    /// Whether nothing is left to pay for: a caller that is as good as new.
    pub(crate) fn is_clear(&self, now: Instant) -> bool {
        self.0.is_none_or(|at| at <= now)
    }
}
