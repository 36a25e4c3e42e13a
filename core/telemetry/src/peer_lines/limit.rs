//! Decides whether one more line is written. Pure: `now` is passed in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What each principal may write: so many lines at once, then one an interval.
pub(crate) const PRINCIPAL: Rate = Rate::new(10, Duration::from_millis(200));
/// What all principals of one kind may write together. In no second do the four kinds write more
/// than 4 × (20 + 25) = 180 lines.
pub(crate) const KIND: Rate = Rate::new(20, Duration::from_millis(40));
/// Principals that are remembered: those that have written and not yet got their whole burst back.
/// In the 2 s that this takes, a kind admits 20 lines at once and 50 more.
pub(crate) const MAX_PRINCIPALS: usize = 128;

/// So many lines at once, and one more an interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    burst: u32,
    interval: Duration,
}

impl Rate {
    const fn new(burst: u32, interval: Duration) -> Self {
        Self { burst, interval }
    }

    /// Most lines in any second.
    #[cfg(test)]
    pub(crate) fn most_in_a_second(self) -> u32 {
        let refilled = Duration::from_secs(1).as_nanos() / self.interval.as_nanos();
        self.burst + u32::try_from(refilled).expect("an interval is longer than a nanosecond")
    }

    /// When the burst is whole again after one more line now; `None` where the line is too much.
    /// (A leaky bucket that is kept as one moment: the generic cell rate algorithm.)
    fn after_one_more(self, whole_at: Option<Instant>, now: Instant) -> Option<Instant> {
        let next = whole_at.map_or(now, |at| at.max(now)) + self.interval;
        (next.duration_since(now) <= self.interval * self.burst).then_some(next)
    }
}

/// The lines of one kind of principals.
#[derive(Debug, Default)]
pub(crate) struct LineLimit {
    /// When the burst of all of them is whole again.
    whole_at: Option<Instant>,
    /// The same of each principal that has written lately; at most [`MAX_PRINCIPALS`].
    principals: HashMap<u64, Instant>,
    left_out: u64,
}

impl LineLimit {
    /// How many lines were left out before this one; `None` where it is left out as well.
    pub(crate) fn admit(&mut self, principal: u64, now: Instant) -> Option<u64> {
        self.admit_untold(principal, now)
            .then(|| self.take_left_out())
    }

    /// Whether this line is written, where it cannot tell how many were left out before it.
    pub(crate) fn admit_untold(&mut self, principal: u64, now: Instant) -> bool {
        let admitted = self.take(principal, now).is_some();
        if !admitted {
            self.left_out += 1;
        }
        admitted
    }

    /// How many lines were left out since this was last told.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    fn take(&mut self, principal: u64, now: Instant) -> Option<()> {
        let known = self.principals.get(&principal).copied();
        let own = PRINCIPAL.after_one_more(known, now)?;
        let all = KIND.after_one_more(self.whole_at, now)?;
        if known.is_none() && self.principals.len() >= MAX_PRINCIPALS {
            self.principals.retain(|_, whole_at| *whole_at > now);
            self.principals.shrink_to(MAX_PRINCIPALS);
            if self.principals.len() >= MAX_PRINCIPALS {
                return None;
            }
        }
        self.principals.insert(principal, own);
        self.whole_at = Some(all);
        Some(())
    }
}

#[cfg(test)]
mod tests;
