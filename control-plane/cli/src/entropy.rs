//! The random bytes of the operating system, taken in one place. Everything else is given an
//! [`Entropy`].

use aws_lc_rs::rand;
use countersign_model::entropy::{Entropy, NoEntropy};

/// The source of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where the entropy of the machine enters this process"
    )]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        rand::fill(bytes).map_err(|_| NoEntropy)
    }
}
