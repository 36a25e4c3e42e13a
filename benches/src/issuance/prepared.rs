//! Keys and their proofs, made before the clock runs.

use countersign_proto::mesh::{Enrolment, KeyProof};
use countersign_verify::proof;
use rcgen::{KeyPair, PublicKeyData, SigningKey};

const ECDSA_P256_SHA256: u32 = 0x0403;

/// A fresh key.
pub fn key() -> KeyPair {
    KeyPair::generate().expect("the operating system gives random bytes")
}

/// The proof that a key is held, on one session.
pub fn proof_of(key: &KeyPair, exporter: &[u8; 32], entitlement: &str) -> KeyProof {
    let spki = key.subject_public_key_info();
    let message = proof::message(exporter, entitlement, &spki);
    KeyProof {
        signature: key.sign(&message).expect("our key signs"),
        signature_scheme: ECDSA_P256_SHA256,
        spki,
    }
}

/// An enrolment of a fresh key.
pub fn enrolment(exporter: &[u8; 32], entitlement: &str) -> Enrolment {
    Enrolment {
        key: Some(proof_of(&key(), exporter, entitlement)),
        entitlement: entitlement.to_owned(),
    }
}
