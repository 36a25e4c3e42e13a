//! Whether this machine's clock and the control plane's disagree.
//!
//! A certificate cannot have been issued before its key was made, nor after its answer arrived. Where
//! the times say so, one of the two clocks is wrong: credentials are then renewed far more often, or
//! taken for expired or not valid yet.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// A difference that harms nothing: NotBefore lies back by more, and lifetimes are longer.
const TOLERATED: Duration = Duration::from_secs(30);

/// How this machine's clock stands to the control plane's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockSkew {
    /// Ahead by at least so much.
    Ahead(Duration),
    /// Behind by at least so much.
    Behind(Duration),
}

impl ClockSkew {
    /// What the issue of a certificate tells, for a key that was made at `made_at` and whose answer
    /// arrived at `now`. `None` where the clocks agree.
    pub(crate) fn of(made_at: Timestamp, issued_at: Timestamp, now: Timestamp) -> Option<Self> {
        let by = |later: Timestamp, earlier: Timestamp| {
            let difference = later.duration_since(earlier);
            Duration::try_from(difference)
                .ok()
                .filter(|it| *it > TOLERATED)
        };
        let ahead = by(made_at, issued_at).map(Self::Ahead);
        ahead.or_else(|| by(issued_at, now).map(Self::Behind))
    }

    /// Seconds ahead; negative where it is behind.
    pub(crate) fn as_secs(&self) -> i64 {
        let secs = |by: &Duration| i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        match self {
            Self::Ahead(by) => secs(by),
            Self::Behind(by) => -secs(by),
        }
    }

    /// Whether the other says the same, but for some seconds.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ahead(a), Self::Ahead(b)) | (Self::Behind(a), Self::Behind(b)) => {
                a.abs_diff(*b) <= TOLERATED
            }
            _ => false,
        }
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, how) = match self {
            Self::Ahead(by) => (by, "ahead of"),
            Self::Behind(by) => (by, "behind"),
        };
        let by = by.as_secs();
        write!(
            f,
            "the clock of this machine is {by} s {how} the control plane's: compare both with another, \
             and set the wrong one right"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn skew(made: i64, issued: i64, now: i64) -> Option<ClockSkew> {
        ClockSkew::of(at(made), at(issued), at(now))
    }

    #[test]
    fn only_clocks_that_disagree_are_told() {
        let secs = Duration::from_secs;
        assert_eq!(skew(100, 100, 101), None);
        assert_eq!(skew(100, 70, 101), None, "tolerated");
        assert_eq!(skew(100, 131, 101), None, "tolerated");
        assert_eq!(skew(1_900, 100, 1_901), Some(ClockSkew::Ahead(secs(1_800))));
        assert_eq!(skew(100, 1_901, 101), Some(ClockSkew::Behind(secs(1_800))));
        // The first answer was lost, and the same key was asked for again an hour later.
        assert_eq!(skew(100, 101, 3_700), None);
    }
}
