//! ROCA (CVE-2017-15361; Nemec et al., "The Return of Coppersmith's Attack", CCS 2017): Infineon
//! chips made primes of the form k·M + (65537^a mod M), where M is a product of the first primes.
//!
//! So the modulus is a power of 65537 modulo every one of those primes. A sound modulus passes for
//! one by chance in about 2^28 keys; its owner makes another.

use std::sync::LazyLock;

use super::rsa::RsaKey;
use super::small_factors::{primes_below, remainder};
use super::weak;
use crate::Finding;

/// M of the shortest affected keys is the product of the primes up to 167, and divides every other.
const BOUND: u32 = 168;
const GENERATOR: u32 = 65_537;

/// Of each odd prime, which remainders are powers of the generator.
static FINGERPRINTS: LazyLock<Vec<Vec<bool>>> = LazyLock::new(|| {
    let odd = primes_below(BOUND).into_iter().skip(1);
    odd.map(powers).collect()
});

pub(super) fn check(key: &RsaKey) -> Result<(), Finding> {
    let fits = |powers: &Vec<bool>| {
        let prime = u32::try_from(powers.len()).unwrap_or(u32::MAX);
        let rest = remainder(&key.modulus, prime) as usize;
        powers.get(rest).copied().unwrap_or_default()
    };
    if FINGERPRINTS.iter().all(fits) {
        return Err(weak(
            "the RSA modulus was made by a chip whose keys can be factored",
            "CVE-2017-15361 (ROCA)",
        ));
    }
    Ok(())
}

/// For a prime p: p flags, set where the index is a power of the generator modulo p.
fn powers(prime: u32) -> Vec<bool> {
    let mut is_power = vec![false; prime as usize];
    let mut power = 1;
    while !is_power[power as usize] {
        is_power[power as usize] = true;
        power = power * (GENERATOR % prime) % prime;
    }
    is_power
}
