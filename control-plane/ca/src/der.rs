//! The outer shell of a certificate (RFC 5280 section 4.1): what is put around a logged,
//! to-be-signed certificate and its signature.

use countersign_issue::der::{ECDSA_WITH_SHA256, element};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
/// SubjectPublicKeyInfo of a P-256 key up to its point (RFC 5480 section 2).
const P256_PUBLIC_KEY: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point of P-256 (SEC 1 section 2.3.3).
pub const P256_POINT_BYTES: usize = 65;
const UNCOMPRESSED: u8 = 0x04;

/// The certificate made of a to-be-signed certificate and its ECDSA signature.
pub(super) fn certificate(tbs: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut bits = vec![0];
    bits.extend(signature);
    let mut content = tbs.to_vec();
    content.extend(ECDSA_WITH_SHA256);
    content.extend(element(BIT_STRING, &bits));
    element(SEQUENCE, &content)
}

/// ECDSA-Sig-Value (RFC 3279 section 2.2.3) of r ‖ s, as PKCS#11 gives them.
pub fn ecdsa_signature(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    element(SEQUENCE, &[integer(r), integer(s)].concat())
}

/// The SubjectPublicKeyInfo of a point of P-256, which tokens give bare or as an OCTET STRING
/// (PKCS#11 section 6.3.3).
pub fn p256_public_key(point: &[u8]) -> Option<Vec<u8>> {
    let point = match point {
        [OCTET_STRING, 65, point @ ..] if point.len() == P256_POINT_BYTES => point,
        point => point,
    };
    let is_point = point.len() == P256_POINT_BYTES && point[0] == UNCOMPRESSED;
    is_point.then(|| [&P256_PUBLIC_KEY, point].concat())
}

/// A positive INTEGER of a big-endian magnitude.
fn integer(magnitude: &[u8]) -> Vec<u8> {
    let zeros = magnitude.iter().take_while(|&&byte| byte == 0).count();
    let mut content = magnitude[zeros..].to_vec();
    if content.first().is_none_or(|&first| first >= 0x80) {
        content.insert(0, 0);
    }
    element(INTEGER, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal_and_positive() {
        assert_eq!(integer(&[0, 0]), [2, 1, 0]);
        assert_eq!(integer(&[0, 1]), [2, 1, 1]);
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(
            ecdsa_signature(&[1, 0x80]),
            [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]
        );
    }

    #[test]
    fn points_are_read_in_both_encodings() {
        let point = [&[UNCOMPRESSED][..], &[7; 64]].concat();
        let wrapped = [&[OCTET_STRING, 65][..], &point].concat();
        let bare = p256_public_key(&point).unwrap();
        assert_eq!(p256_public_key(&wrapped), Some(bare));
        for broken in [&point[..64], &[&[2][..], &point[1..]].concat(), &[]] {
            assert_eq!(p256_public_key(broken), None);
        }
    }
}
