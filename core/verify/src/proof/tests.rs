//! Proofs that hold, and everything that must not.

#![allow(
    clippy::disallowed_methods,
    reason = "keys and signatures are made with the entropy of the operating system"
)]

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use proptest::prelude::*;

use super::*;

const EXPORTER: [u8; 32] = [3; 32];
const P256: u16 = 0x0403;
const P384: u16 = 0x0503;

fn spki(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().unwrap().as_ref().to_vec()
}

/// A key and its signature over the message of the entitlement `node`.
fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> (Vec<u8>, Vec<u8>) {
    let key = EcdsaKeyPair::generate(algorithm).unwrap();
    let spki = spki(key.public_key());
    let message = message(&EXPORTER, "node", &spki);
    let signature = key.sign(&SystemRandom::new(), &message).unwrap();
    (spki, signature.as_ref().to_vec())
}

fn rsa(key: &RsaKeyPair, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature)
        .unwrap();
    signature
}

#[test]
fn the_message_is_that_of_the_protocol() {
    let message = message(&EXPORTER, "reg-1", b"spki");
    let expected = [
        b"countersign-key-proof-v1\0".as_slice(),
        &EXPORTER,
        b"reg-1\0spki",
    ];
    assert_eq!(message, expected.concat());
}

#[test]
fn ecdsa_proofs_hold() {
    for (algorithm, scheme) in [
        (&ECDSA_P256_SHA256_ASN1_SIGNING, P256),
        (&ECDSA_P384_SHA384_ASN1_SIGNING, P384),
    ] {
        let (spki, signature) = ecdsa(algorithm);
        let message = message(&EXPORTER, "node", &spki);
        assert_eq!(verify(&spki, scheme, &signature, &message), Ok(()));
    }
}

#[test]
fn rsa_proofs_hold_under_their_scheme_alone() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let spki = spki(key.public_key());
    let message = message(&EXPORTER, "node", &spki);
    let schemes: [(u16, &'static dyn RsaEncoding); 6] = [
        (0x0804, &RSA_PSS_SHA256),
        (0x0805, &RSA_PSS_SHA384),
        (0x0806, &RSA_PSS_SHA512),
        (0x0401, &RSA_PKCS1_SHA256),
        (0x0501, &RSA_PKCS1_SHA384),
        (0x0601, &RSA_PKCS1_SHA512),
    ];
    for (scheme, encoding) in schemes {
        let signature = rsa(&key, encoding, &message);
        for (other, _) in schemes {
            let expected = (other != scheme).then_some(ProofError::Signature);
            let judged = verify(&spki, other, &signature, &message).err();
            assert_eq!(judged, expected, "{scheme:#x} as {other:#x}");
        }
    }
}

#[test]
fn a_proof_is_bound_to_session_name_and_key() {
    let (spki, signature) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING);
    let judged = |exporter: &[u8; 32], name: &str, of: &[u8]| {
        verify(&spki, P256, &signature, &message(exporter, name, of))
    };
    assert_eq!(judged(&EXPORTER, "node", &spki), Ok(()));
    let refused = Err(ProofError::Signature);
    assert_eq!(judged(&[4; 32], "node", &spki), refused);
    assert_eq!(judged(&EXPORTER, "reg-1", &spki), refused);
    assert_eq!(judged(&EXPORTER, "node", b"another key"), refused);
}

#[test]
fn another_key_did_not_sign() {
    let (spki, signature) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING);
    let (other, _) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING);
    let message = message(&EXPORTER, "node", &spki);
    assert_eq!(verify(&spki, P256, &signature, &message), Ok(()));
    let judged = verify(&other, P256, &signature, &message);
    assert_eq!(judged, Err(ProofError::Signature));
}

#[test]
fn scheme_and_key_must_be_of_one_kind() {
    let (spki, signature) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING);
    let message = message(&EXPORTER, "node", &spki);
    for scheme in [P384, 0x0804, 0x0401] {
        let judged = verify(&spki, scheme, &signature, &message);
        assert_eq!(judged, Err(ProofError::Key), "{scheme:#x}");
    }
}

#[test]
fn other_schemes_are_refused() {
    let key = Ed25519KeyPair::generate().unwrap();
    let spki = spki(key.public_key());
    let message = message(&EXPORTER, "node", &spki);
    let signature = key.sign(&message);
    // Ed25519, ECDSA P-521, RSA-PSS with a PSS key, SHA-1 twice, nothing, GREASE.
    for scheme in [0x0807, 0x0603, 0x0809, 0x0201, 0x0203, 0, 0x0a0a] {
        let judged = verify(&spki, scheme, signature.as_ref(), &message);
        assert_eq!(judged, Err(ProofError::Scheme { scheme }));
    }
}

#[test]
fn one_key_has_one_encoding() {
    let (good, signature) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING);
    let message = message(&EXPORTER, "node", &good);
    let mut compressed = good[..good.len() - 32].to_vec();
    compressed[1] -= 32;
    compressed[24] -= 32;
    compressed[26] = 2 + (good[90] & 1);
    for spki in [compressed, [good.as_slice(), &[0]].concat(), vec![]] {
        let judged = verify(&spki, P256, &signature, &message);
        assert_eq!(judged, Err(ProofError::Key));
    }
}

#[test]
fn sizes_are_bounded() {
    let judged = |spki, signature, message| {
        verify(&vec![0; spki], P256, &vec![0; signature], &vec![0; message])
    };
    let most = (MAX_SPKI_BYTES, MAX_SIGNATURE_BYTES, MAX_MESSAGE_BYTES);
    assert_eq!(judged(most.0, most.1, most.2), Err(ProofError::Key));
    let too_large = Err(ProofError::TooLarge);
    assert_eq!(judged(most.0 + 1, 0, 0), too_large);
    assert_eq!(judged(0, most.1 + 1, 0), too_large);
    assert_eq!(judged(0, 0, most.2 + 1), too_large);
}

proptest! {
    #[test]
    fn arbitrary_proofs_never_hold(
        spki in proptest::collection::vec(any::<u8>(), 0..200),
        scheme: u16,
        signature in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let message = message(&EXPORTER, "node", &spki);
        prop_assert!(verify(&spki, scheme, &signature, &message).is_err());
    }
}
