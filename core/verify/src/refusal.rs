//! Why a chain is refused.

/// The first rule that a chain breaks, with the section of the standard that states it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No certificate at all.
    #[error("the chain is empty")]
    EmptyChain,
}
