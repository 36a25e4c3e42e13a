//! The one place where the sidecar reads the wall clock. Everything else takes `now`.

use jiff::Timestamp;

/// The wall clock.
#[allow(
    clippy::disallowed_methods,
    reason = "the one wall clock of this process; logic takes `now` as an argument"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
