//! An RSA exponent is odd and lies between 2^16 and 2^256 (NIST SP 800-89 section 5.3.3; CA/Browser
//! Forum Baseline Requirements section 6.1.6): small ones fall to careless padding, and large ones
//! only cost the verifier.

use super::rsa::RsaKey;
use super::weak;
use crate::Finding;

/// The least bits of an exponent above 2^16, and the most below 2^256.
const BITS: std::ops::RangeInclusive<u64> = 17..=256;

pub(super) fn check(key: &RsaKey) -> Result<(), Finding> {
    // 2^16 itself has 17 bits too, but is even.
    if key.exponent.bit(0) && BITS.contains(&key.exponent.bits()) {
        return Ok(());
    }
    Err(weak(
        "the RSA exponent is even, at most 2^16, or at least 2^256",
        "SP 800-89 section 5.3.3, CA/Browser Forum BR section 6.1.6",
    ))
}
