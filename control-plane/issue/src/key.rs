//! Public keys that may be certified: their kinds, and why others are refused.
//!
//! A key has one encoding here (named curve, uncompressed point; minimal integers), so that its
//! SPKI hash names it and a blocked key cannot come back in another coat. What makes a key weak is
//! one check a file, each with its source. Reading costs microseconds for ECDSA and at most a few
//! milliseconds for RSA, whatever the bytes are.

pub mod block_list;
mod close_primes;
mod exponent;
mod known_bad;
mod point;
pub mod refused;
mod roca;
mod rsa;
mod size;
mod small_factors;

use countersign_verify::proof::MAX_SPKI_BYTES;
use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData,
    SignatureAlgorithm,
};
use sha2::{Digest, Sha256};

use crate::Finding;
use rsa::RsaKey;

/// SHA-256 over a SubjectPublicKeyInfo.
pub type SpkiHash = [u8; 32];

/// A key identifier: the first 20 bytes of that hash (RFC 7093 section 2, method 1).
pub type KeyId = [u8; 20];

/// A kind of key that may be certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256, the default.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA from 2048 to 8192 bits.
    Rsa,
}

/// A key of an accepted kind, in its one encoding, without a known weakness. Only
/// `PublicKey::read` makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    spki: Vec<u8>,
    /// Where the content of the BIT STRING begins in `spki`.
    start: usize,
    sha256: SpkiHash,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), DER, and refuses weak keys.
    ///
    /// # Errors
    /// `key_kind`, `key_weak` or `key_known_bad`, with the rule's source.
    pub fn read(spki: &[u8]) -> Result<Self, Finding> {
        if spki.len() > MAX_SPKI_BYTES {
            return Err(UNKNOWN_KIND);
        }
        let sha256 = Sha256::digest(spki).into();
        known_bad::check(&sha256)?;
        let (kind, start) = if spki.starts_with(point::P256) {
            point::check(spki, KeyKind::P256)?;
            (KeyKind::P256, point::P256.len())
        } else if spki.starts_with(point::P384) {
            point::check(spki, KeyKind::P384)?;
            (KeyKind::P384, point::P384.len())
        } else {
            let key = RsaKey::read(spki).ok_or(UNKNOWN_KIND)?;
            WEAKNESSES.iter().try_for_each(|check| check(&key))?;
            (KeyKind::Rsa, key.start())
        };
        Ok(Self {
            kind,
            spki: spki.to_vec(),
            start,
            sha256,
        })
    }

    /// Its kind.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Its key identifier (RFC 7093 section 2, method 1).
    pub fn id(&self) -> &KeyId {
        self.sha256
            .first_chunk()
            .expect("a hash is longer than a key identifier")
    }

    /// Names the key: every key has one encoding.
    pub fn sha256(&self) -> &SpkiHash {
        &self.sha256
    }
}

/// For the template: the key as it came, byte for byte.
impl PublicKeyData for PublicKey {
    fn subject_public_key_info(&self) -> Vec<u8> {
        self.spki.clone()
    }

    fn der_bytes(&self) -> &[u8] {
        &self.spki[self.start..]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.kind {
            KeyKind::P256 => &PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &PKCS_ECDSA_P384_SHA384,
            KeyKind::Rsa => &PKCS_RSA_SHA256,
        }
    }
}

/// The key id of a public key, lower-case hex: its key identifier.
pub fn key_id(spki: &[u8]) -> String {
    key_id_of(&Sha256::digest(spki).into())
}

/// The key id of a public key, by SHA-256 of its SubjectPublicKeyInfo.
pub fn key_id_of(spki_sha256: &SpkiHash) -> String {
    hex::encode(&spki_sha256[..size_of::<KeyId>()])
}

type Check = fn(&RsaKey) -> Result<(), Finding>;

/// What makes an RSA key weak, the cheapest first.
const WEAKNESSES: [Check; 5] = [
    size::check,
    exponent::check,
    small_factors::check,
    roca::check,
    close_primes::check,
];

pub(super) const UNKNOWN_KIND: Finding = Finding {
    rule: KIND,
    problem: "a key is ECDSA P-256 or P-384 with an uncompressed point, or RSA",
    section: "RFC 5480 sections 2.1.1 and 2.2, RFC 3279 section 2.3.1",
};

/// Rule of a key of another kind or size.
const KIND: &str = "key_kind";
/// Rule of a key whose private part can be computed, or forged around.
const WEAK: &str = "key_weak";

fn weak(problem: &'static str, section: &'static str) -> Finding {
    Finding {
        rule: WEAK,
        problem,
        section,
    }
}

#[cfg(test)]
mod tests;
