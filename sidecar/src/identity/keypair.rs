//! ECDSA P-256 keys, made where they are used. Their bytes are wiped when dropped.
//!
//! This is the one place of the sidecar with entropy of its own: what makes a key, or the nonce of a
//! signature, takes it from the operating system itself. Nothing is decided by it.

#![allow(
    clippy::disallowed_methods,
    reason = "keys and signatures are made with the entropy of the operating system"
)]

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use zeroize::Zeroizing;

/// TLS `SignatureScheme` of the signatures made here (RFC 8446 section 4.2.3).
pub(crate) const ECDSA_SECP256R1_SHA256: u16 = 0x0403;

/// The operating system gave no randomness, or a stored key is no P-256 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no usable P-256 key")]
pub(crate) struct KeyError;

/// A private key and its public half.
pub(crate) struct Keypair {
    key: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
    spki: Vec<u8>,
}

impl Keypair {
    /// A fresh key.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub(crate) fn generate() -> Result<Self, KeyError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| KeyError)?;
        let document = key.to_pkcs8v1().map_err(|_| KeyError)?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Self::of(key, pkcs8)
    }

    /// A key that was stored, from PKCS#8 DER.
    ///
    /// # Errors
    /// It is no P-256 key.
    pub(crate) fn from_pkcs8(pkcs8: &Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8);
        Self::of(key.map_err(|_| KeyError)?, pkcs8.clone())
    }

    fn of(key: EcdsaKeyPair, pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| KeyError)?;
        let spki = der.as_ref().to_vec();
        Ok(Self { key, pkcs8, spki })
    }

    /// PKCS#8 DER.
    pub(crate) fn pkcs8(&self) -> &Zeroizing<Vec<u8>> {
        &self.pkcs8
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// An ASN.1 ECDSA signature with SHA-256 over `message`.
    ///
    /// # Errors
    /// The operating system gave no randomness.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.key.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| KeyError)?.as_ref().to_vec())
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keypair").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

    use super::*;

    #[test]
    fn signature_verifies_under_the_public_half() {
        let key = Keypair::generate().unwrap();
        let signature = key.sign(b"message").unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.key.public_key());
        public.verify(b"message", &signature).unwrap();
        assert!(public.verify(b"another", &signature).is_err());
    }

    #[test]
    fn stored_key_is_the_same_key() {
        let key = Keypair::generate().unwrap();
        let again = Keypair::from_pkcs8(key.pkcs8()).unwrap();
        assert_eq!((again.spki(), again.pkcs8()), (key.spki(), key.pkcs8()));
        assert!(Keypair::from_pkcs8(&Zeroizing::new(vec![0x30, 0])).is_err());
    }

    #[test]
    fn debug_output_holds_no_key() {
        let key = Keypair::generate().unwrap();
        assert_eq!(format!("{key:?}"), "Keypair { .. }");
    }

    #[test]
    fn every_key_is_fresh() {
        let (one, two) = (Keypair::generate().unwrap(), Keypair::generate().unwrap());
        assert_ne!(one.spki(), two.spki());
    }
}
