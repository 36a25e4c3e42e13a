//! ECDSA keys: a named curve, an uncompressed point, and that point on the curve and not at
//! infinity (RFC 5480 sections 2.1.1 and 2.2; NIST SP 800-56A section 5.6.2.3.3).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ParsedPublicKey, VerificationAlgorithm,
};

use super::{KeyKind, UNKNOWN_KIND, weak};
use crate::Finding;

/// What stands before the point in the SubjectPublicKeyInfo of a P-256 key.
pub(super) const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same of a P-384 key.
pub(super) const P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
/// The first byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

pub(super) fn check(spki: &[u8], kind: KeyKind) -> Result<(), Finding> {
    let (prefix, coordinate, algorithm): (_, _, &'static dyn VerificationAlgorithm) = match kind {
        KeyKind::P256 => (P256, 32, &ECDSA_P256_SHA256_ASN1),
        KeyKind::P384 => (P384, 48, &ECDSA_P384_SHA384_ASN1),
        KeyKind::Rsa => return Err(UNKNOWN_KIND),
    };
    let point = &spki[prefix.len()..];
    if point.len() != 1 + 2 * coordinate || point[0] != UNCOMPRESSED {
        return Err(UNKNOWN_KIND);
    }
    ParsedPublicKey::new(algorithm, point)
        .map(drop)
        .map_err(|_| {
            weak(
                "the point is not on its curve",
                "SP 800-56A section 5.6.2.3.3",
            )
        })
}
