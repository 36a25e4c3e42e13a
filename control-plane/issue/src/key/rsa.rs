//! An RSA key as two integers, read from its one encoding (RFC 3279 section 2.3.1).

use num_bigint::BigUint;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::der::element;

/// Modulus and exponent.
#[derive(Debug)]
pub(super) struct RsaKey {
    pub(super) modulus: BigUint,
    pub(super) exponent: BigUint,
    start: usize,
}

impl RsaKey {
    /// Reads a SubjectPublicKeyInfo; `None` where it is none of RSA, or would be encoded otherwise.
    pub(super) fn read(spki: &[u8]) -> Option<Self> {
        let (_, parsed) = SubjectPublicKeyInfo::from_der(spki).ok()?;
        let PublicKey::RSA(rsa) = parsed.parsed().ok()? else {
            return None;
        };
        let modulus = BigUint::from_bytes_be(rsa.modulus);
        let exponent = BigUint::from_bytes_be(rsa.exponent);
        let key = encoded_key(&modulus, &exponent);
        let canonical = encoded(&key) == spki;
        canonical.then(|| Self {
            modulus,
            exponent,
            start: spki.len() - key.len(),
        })
    }

    /// Where the RSAPublicKey begins in the SubjectPublicKeyInfo.
    pub(super) fn start(&self) -> usize {
        self.start
    }
}

fn encoded(key: &[u8]) -> Vec<u8> {
    let bits = [&[0], key].concat();
    element(
        SEQUENCE,
        &[RSA_ENCRYPTION, &element(BIT_STRING, &bits)].concat(),
    )
}

/// RSAPublicKey (RFC 8017 appendix A.1.1).
fn encoded_key(modulus: &BigUint, exponent: &BigUint) -> Vec<u8> {
    element(SEQUENCE, &[integer(modulus), integer(exponent)].concat())
}

fn integer(number: &BigUint) -> Vec<u8> {
    let mut bytes = number.to_bytes_be();
    if bytes[0] & 0x80 != 0 {
        bytes.insert(0, 0);
    }
    element(INTEGER, &bytes)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// AlgorithmIdentifier of rsaEncryption, with its NULL.
const RSA_ENCRYPTION: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// The SubjectPublicKeyInfo of any two integers, for tests.
#[cfg(test)]
pub(super) fn spki(modulus: &BigUint, exponent: &BigUint) -> Vec<u8> {
    encoded(&encoded_key(modulus, exponent))
}
