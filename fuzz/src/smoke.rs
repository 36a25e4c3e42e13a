//! A bounded run of one target. Each round draws from a generator of its own, so that the number
//! that a failure prints is enough to see it again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

use crate::Target;
use crate::mutate::changed;

/// Most bytes of a value that a failure prints.
const MAX_SHOWN_BYTES: usize = 2_048;

/// What went wrong, and how to see it again.
#[derive(Debug)]
pub struct Failure {
    /// Where the generator began.
    pub seed: u64,
    /// What was read, in hex.
    pub input: String,
}

/// Reads every valid value, which must be taken, then `rounds` changed ones. How many of those
/// were taken that are no valid value of the target itself: a change may change nothing.
///
/// # Errors
/// The first round in which the target panicked.
///
/// # Panics
/// A valid value was not taken.
pub fn run(target: &Target, first: u64, rounds: u64) -> Result<u64, Failure> {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no valid value", target.name);
    for (index, seed) in seeds.iter().enumerate() {
        assert!((target.run)(seed), "{}: valid value {index}", target.name);
    }
    let mut taken = 0;
    for seed in first..first.saturating_add(rounds) {
        let bytes = changed(&mut Rng::with_seed(seed), &seeds);
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
        let is_taken = outcome.map_err(|_| Failure {
            seed,
            input: hex::encode(&bytes[..bytes.len().min(MAX_SHOWN_BYTES)]),
        })?;
        taken += u64::from(is_taken && !seeds.contains(&bytes));
    }
    Ok(taken)
}
