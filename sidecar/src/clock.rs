//! The wall clock. It is read here alone and passed to whoever waits and acts; what decides takes `now`.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// A wall clock.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that shows what `now` says.
    pub(crate) fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The clock of this machine.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one wall clock of this process; logic takes `now` as an argument"
    )]
    pub(crate) fn of_system() -> Self {
        Self::new(Timestamp::now)
    }

    /// What it shows.
    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The time of tests that talk to others.
#[cfg(test)]
pub(crate) fn now() -> Timestamp {
    Clock::of_system().now()
}
