//! Whether the wall clock can be trusted with forgetting something for good.

use std::time::Duration;

use jiff::Timestamp;

/// As long as the clock has to go on steadily: the longest lifetime of a certificate. Whoever has one
/// that the control plane does not know of, after a restore, has come back by then or cannot any more.
const STEADY: Duration = Duration::from_secs(24 * 3_600);
/// A larger step between two looks, or one back, was a jump: the clock was set, or the machine slept.
const JUMP: Duration = Duration::from_secs(3_600);

/// Since when the clock has gone on without a jump. A clock that is wrong at the start, or is set
/// wrong, makes what is alive look long over.
#[derive(Debug, Default)]
pub(super) struct Steady {
    span: Option<(Timestamp, Timestamp)>,
}

impl Steady {
    /// Notes what the clock says, and answers whether it has gone on steadily for long enough.
    pub(super) fn at(&mut self, now: Timestamp) -> bool {
        let goes_on = |(_, last): &(Timestamp, Timestamp)| (*last..=*last + JUMP).contains(&now);
        let since = self.span.filter(goes_on).map_or(now, |(since, _)| since);
        self.span = Some((since, now));
        now.duration_since(since).unsigned_abs() >= STEADY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_that_jumps_is_not_steady() {
        let mut steady = Steady::default();
        let mut now = Timestamp::UNIX_EPOCH + STEADY;
        let mut go_on = |from: Timestamp, hours: u64| {
            let step = |hour| steady.at(from + Duration::from_secs(hour * 3_600));
            (0..=hours).map(step).collect::<Vec<_>>()
        };
        assert!(go_on(now, 23).iter().all(|is_steady| !is_steady), "a start");
        assert_eq!(go_on(now + Duration::from_secs(24 * 3_600), 0), [true]);
        for jump in [now + STEADY * 40, now] {
            now = jump;
            let hours = go_on(now, 24);
            assert_eq!(hours.iter().filter(|is_steady| **is_steady).count(), 1);
            assert_eq!(hours.last(), Some(&true));
        }
    }
}
