//! From times to places in a picture.

use jiff::Timestamp;

/// How many steps the axis of a time line has at most.
const MOST_TICKS: i64 = 8;
/// Lengths between two steps, in seconds.
const STEPS: [i64; 16] = [
    1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800,
];

/// A length of time laid over a width.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: Timestamp,
    /// Never zero, so that there is something to divide by.
    secs: f64,
    left: f64,
    width: f64,
}

impl Scale {
    /// From one time to a later one, between two places.
    pub(super) fn new(from: Timestamp, to: Timestamp, left: f64, width: f64) -> Self {
        let secs = to.duration_since(from).as_secs_f64().max(1.0);
        Self {
            from,
            secs,
            left,
            width,
        }
    }

    /// Where a time lies; the ends hold what is outside.
    pub(super) fn place(&self, at: Timestamp) -> f64 {
        let share = share(at.duration_since(self.from).as_secs_f64(), self.secs);
        round(self.left + share * self.width)
    }

    /// Places of the axis, each with its distance from the beginning in words.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "seconds between two times of one log"
        )]
        let whole = self.secs as i64;
        let step = STEPS.into_iter().find(|step| whole / step <= MOST_TICKS);
        let step = step.unwrap_or(whole / MOST_TICKS);
        let times = (0..=MOST_TICKS).map(|n| n * step);
        let times = times.take_while(|secs| *secs <= whole);
        let tick = |secs: i64| {
            #[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
            let share = share(secs as f64, self.secs);
            let words = u64::try_from(secs).map_or_else(|_| String::new(), crate::distance::length);
            (round(self.left + share * self.width), format!("+{words}"))
        };
        times.map(tick).collect()
    }
}

/// What part of a whole something is, from 0 to 1.
pub(super) fn share(part: f64, whole: f64) -> f64 {
    (part / whole).clamp(0.0, 1.0)
}

/// To a tenth: a picture has no use for more.
pub(super) fn round(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn ticks_are_few_and_round() {
        let words = |secs| {
            let scale = Scale::new(at(0), at(secs), 0.0, 100.0);
            let words = scale.ticks().into_iter().map(|(_, words)| words);
            words.collect::<Vec<_>>()
        };
        assert_eq!(words(0), ["+0 s", "+1 s"]);
        assert_eq!(words(11), ["+0 s", "+2 s", "+4 s", "+6 s", "+8 s", "+10 s"]);
        assert_eq!(
            words(3_000),
            [
                "+0 s", "+10 min", "+20 min", "+30 min", "+40 min", "+50 min"
            ]
        );
    }

    proptest! {
        #[test]
        fn every_place_lies_in_the_picture(from in -1_000i64..1_000, to in -1_000i64..1_000, t in -9_000i64..9_000) {
            let scale = Scale::new(at(from), at(to), 10.0, 90.0);
            prop_assert!((10.0..=100.0).contains(&scale.place(at(t))));
            let ticks = scale.ticks();
            prop_assert!((1..=9).contains(&ticks.len()), "{ticks:?}");
            prop_assert!(ticks.iter().all(|(x, _)| (10.0..=100.0).contains(x)), "{ticks:?}");
        }
    }
}
