//! The wall clock, read in one place. Everything else takes `now` or a [`Clock`].

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// Where `now` comes from: the wall clock in the daemon, a hand-set one in tests.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The wall clock of this machine.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place of this process that reads the wall clock"
    )]
    pub fn wall() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that says what `read` says.
    pub fn from_fn(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The time at this moment.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
