//! An RSA modulus is odd and has no factor below 752 (CA/Browser Forum Baseline Requirements
//! section 6.1.6): such a modulus is damaged, or no product of two large primes.

use std::sync::LazyLock;

use num_bigint::BigUint;

use super::rsa::RsaKey;
use super::weak;
use crate::Finding;

/// Factors below this are looked for.
const BOUND: u32 = 752;

static PRIMES: LazyLock<Vec<u32>> = LazyLock::new(|| primes_below(BOUND));

pub(super) fn check(key: &RsaKey) -> Result<(), Finding> {
    let divides = |prime: &u32| remainder(&key.modulus, *prime) == 0;
    if PRIMES.iter().any(divides) {
        return Err(weak(
            "the RSA modulus has a small factor",
            "CA/Browser Forum BR section 6.1.6",
        ));
    }
    Ok(())
}

/// The primes below a small bound.
pub(super) fn primes_below(bound: u32) -> Vec<u32> {
    let mut primes: Vec<u32> = Vec::new();
    for number in 2..bound {
        if primes.iter().all(|prime| !number.is_multiple_of(*prime)) {
            primes.push(number);
        }
    }
    primes
}

/// `number` modulo a small one.
pub(super) fn remainder(number: &BigUint, modulus: u32) -> u32 {
    let rest = number % modulus;
    rest.iter_u32_digits().next().unwrap_or_default()
}
