//! RSA primes that lie close together are found by Fermat's method in a few rounds (CVE-2022-26320;
//! Böck, "Fermat Factorization in the Wild", 2023). Sound keys differ in their highest bits, and
//! no number of rounds that anybody can afford would find theirs.

use num_bigint::BigUint;

use super::rsa::RsaKey;
use super::small_factors::remainder;
use super::weak;
use crate::Finding;

/// Keys seen in the wild fell in one round; the Baseline Requirements (section 6.1.1.3) ask for 100.
const ROUNDS: usize = 100;
/// 63 · 65 · 11: numbers whose squares leave few remainders, and together fit a small integer.
const SIEVE: u32 = 63 * 65 * 11;

pub(super) fn check(key: &RsaKey) -> Result<(), Finding> {
    let modulus = &key.modulus;
    let mut mean = modulus.sqrt();
    if &mean * &mean < *modulus {
        mean += 1_u32;
    }
    let mut rest = &mean * &mean - modulus;
    for _ in 0..ROUNDS {
        if is_square(&rest) {
            return Err(weak(
                "the primes of the RSA modulus lie close together",
                "CVE-2022-26320, CA/Browser Forum BR section 6.1.1.3",
            ));
        }
        rest += &mean << 1_u32;
        rest += 1_u32;
        mean += 1_u32;
    }
    Ok(())
}

/// Whether a number is a square. Most are none for reasons that show in their remainders: only
/// one in twenty is worth a root.
fn is_square(number: &BigUint) -> bool {
    let rest = remainder(number, SIEVE);
    let may_be = [63, 65, 11].into_iter().all(|modulus| {
        let rest = rest % modulus;
        (0..modulus).any(|root| root * root % modulus == rest)
    });
    may_be && {
        let root = number.sqrt();
        &root * &root == *number
    }
}
