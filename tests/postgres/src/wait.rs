//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// How long anything may take that only has to happen: generous, for a loaded machine.
pub(crate) const BOUND: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until `condition` gives something; nothing where it did not within the bound.
#[expect(
    clippy::disallowed_methods,
    reason = "between two looks at a condition, for which there is a bound"
)]
pub(crate) fn until<T>(mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if start.elapsed() > BOUND {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}
