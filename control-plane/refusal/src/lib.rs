//! What a "no" of the control plane is: a rule that refuses a request, something that cannot be done
//! now, and a disk that refuses a write.
//!
//! The steps of the pipeline share these words, so they stand below all of them.

mod unavailable;
mod writes;

pub use unavailable::Unavailable;
pub use writes::RefusedWrites;

/// What a request asked for and was refused; `code` and `remedy` go to operators, never to an
/// unauthenticated caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// Stable, `snake_case`.
    pub code: &'static str,
    /// Which rule said no.
    pub message: String,
    /// What mends it.
    pub remedy: &'static str,
}
