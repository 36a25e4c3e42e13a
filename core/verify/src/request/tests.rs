//! Pairs of keys and algorithms that hold, and those that do not.

#![allow(
    clippy::disallowed_methods,
    reason = "keys and signatures are made with the entropy of the operating system"
)]

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding,
};

use super::*;

const MESSAGE: &[u8] = b"certification request info";

fn spki(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().unwrap().as_ref().to_vec()
}

fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> (Vec<u8>, Vec<u8>) {
    let key = EcdsaKeyPair::generate(algorithm).unwrap();
    let signature = key.sign(&SystemRandom::new(), MESSAGE).unwrap();
    (spki(key.public_key()), signature.as_ref().to_vec())
}

fn identifier(algorithm: &dyn SignatureVerificationAlgorithm) -> Vec<u8> {
    algorithm.signature_alg_id().as_ref().to_vec()
}

#[test]
fn ecdsa_holds_over_its_message_alone() {
    for (signing, named) in [
        (
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            algorithms::ECDSA_P256_SHA256,
        ),
        (
            &ECDSA_P384_SHA384_ASN1_SIGNING,
            algorithms::ECDSA_P384_SHA384,
        ),
    ] {
        let (spki, signature) = ecdsa(signing);
        let named = identifier(named);
        assert_eq!(verify(&spki, &named, &signature, MESSAGE), Ok(()));
        let other = verify(&spki, &named, &signature, b"other");
        assert_eq!(other, Err(RequestSignatureError::Signature));
    }
}

#[test]
fn rsa_holds_with_both_paddings() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let sign = |encoding: &'static dyn RsaEncoding| {
        let mut signature = vec![0; key.public_modulus_len()];
        let random = SystemRandom::new();
        key.sign(encoding, &random, MESSAGE, &mut signature)
            .unwrap();
        signature
    };
    let spki = spki(key.public_key());
    let pkcs1 = identifier(algorithms::RSA_PKCS1_2048_8192_SHA256);
    let pss = identifier(algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY);
    let (by_pkcs1, by_pss) = (sign(&RSA_PKCS1_SHA256), sign(&RSA_PSS_SHA256));
    assert_eq!(verify(&spki, &pkcs1, &by_pkcs1, MESSAGE), Ok(()));
    assert_eq!(verify(&spki, &pss, &by_pss, MESSAGE), Ok(()));
    let crossed = verify(&spki, &pss, &by_pkcs1, MESSAGE);
    assert_eq!(crossed, Err(RequestSignatureError::Signature));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (p256, signature) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING);
    let (p521, of_p521) = ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING);
    let ecdsa = identifier(algorithms::ECDSA_P256_SHA256);
    let rsa = identifier(algorithms::RSA_PKCS1_2048_8192_SHA256);
    let sha512 = identifier(algorithms::ECDSA_P256_SHA512);
    for (spki, named, signature, expected) in [
        (&p256, &rsa, &signature, RequestSignatureError::Algorithm),
        (
            &p256,
            &Vec::new(),
            &signature,
            RequestSignatureError::Algorithm,
        ),
        (&p521, &sha512, &of_p521, RequestSignatureError::Algorithm),
        (&p256, &ecdsa, &Vec::new(), RequestSignatureError::Signature),
        (&vec![0x30], &ecdsa, &signature, RequestSignatureError::Key),
    ] {
        assert_eq!(verify(spki, named, signature, MESSAGE), Err(expected));
    }
}
