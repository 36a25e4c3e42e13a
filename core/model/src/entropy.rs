//! Random bytes, passed in as time is, so that whoever runs the code decides where they come from.

use std::fmt;

/// Where random bytes come from: of the operating system in a daemon.
pub trait Entropy: fmt::Debug + Send + Sync {
    /// Fills all of `bytes` with what nobody can predict.
    ///
    /// # Errors
    /// There is none; `bytes` are not to be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The source of random bytes gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoEntropy;
