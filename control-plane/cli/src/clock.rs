//! The wall clock, read in one place, once. Everything else takes `now`.

use jiff::Timestamp;

/// The time at this moment, by the clock of this machine.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place of this process that reads the wall clock"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
