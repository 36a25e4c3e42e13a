//! A bound on log lines that callers can cause: so many in a second, and then a count.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Most lines of one second.
const LINES_PER_SECOND: u32 = 100;

/// Says whether one more line may be written. What is left out is counted in
/// metrics and, of a known node, in the issuance log.
#[derive(Debug, Default)]
pub(crate) struct LineLimit(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    second: i64,
    written: u32,
    left_out: u64,
}

impl LineLimit {
    /// How many lines were left out before this one; `None` where it is left out as well.
    pub(crate) fn admit(&self, now: Timestamp) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.second != now.as_second() {
            window.second = now.as_second();
            window.written = 0;
        }
        if window.written == LINES_PER_SECOND {
            window.left_out += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_bound_are_counted() {
        let limit = LineLimit::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        for _ in 0..LINES_PER_SECOND {
            assert_eq!(limit.admit(at(7)), Some(0));
        }
        assert_eq!((limit.admit(at(7)), limit.admit(at(7))), (None, None));
        assert_eq!(limit.admit(at(8)), Some(2));
        assert_eq!(limit.admit(at(8)), Some(0));
    }
}
