//! RSA from 2048 to 8192 bits, in whole bytes (CA/Browser Forum Baseline Requirements section
//! 6.1.5; the ceiling bounds what a peer pays to verify).

use super::KIND;
use super::rsa::RsaKey;
use crate::Finding;
use crate::finding::require;

const BITS: std::ops::RangeInclusive<u64> = 2_048..=8_192;

pub(super) fn check(key: &RsaKey) -> Result<(), Finding> {
    let bits = key.modulus.bits();
    require(
        BITS.contains(&bits) && bits.is_multiple_of(8),
        KIND,
        "an RSA modulus has 2048 to 8192 bits, a multiple of 8",
        "CA/Browser Forum BR section 6.1.5",
    )
}
