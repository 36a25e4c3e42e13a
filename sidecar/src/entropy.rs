//! Chance: it enters here alone and is passed to whoever spreads what many do at once. What decides takes
//! a draw.
//!
//! Keys and signatures have entropy of their own, from the library that makes them: `identity::keypair` is
//! the one place where that is.

use std::fmt;

/// Where draws come from.
pub(crate) struct Draws(Box<dyn FnMut() -> f64 + Send>);

impl Draws {
    /// Draws as `next` says, each in `0.0..=1.0`.
    pub(crate) fn new(next: impl FnMut() -> f64 + Send + 'static) -> Self {
        Self(Box::new(next))
    }

    /// Draws by the entropy of this machine.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where the entropy of the machine enters this process"
    )]
    pub(crate) fn of_system() -> Self {
        let mut random = fastrand::Rng::new();
        Self::new(move || random.f64())
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> f64 {
        (self.0)()
    }
}

impl fmt::Debug for Draws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draws")
    }
}
