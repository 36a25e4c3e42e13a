//! The one place of the harness that reads the wall clock.

/// The time now.
#[allow(
    clippy::disallowed_methods,
    reason = "the one reader of the wall clock"
)]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
