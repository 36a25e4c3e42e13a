//! A key in this process' memory, for the stores that hold keys themselves.

use std::fmt;

use countersign_issue::key::key_id;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

use super::{CaKey, KeyError, ToBeSigned};

pub(super) struct SoftwareKey {
    key_id: String,
    spki: Vec<u8>,
    pair: KeyPair,
}

impl SoftwareKey {
    pub(super) fn generate() -> Result<Self, KeyError> {
        Ok(Self::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    pub(super) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        Ok(Self::new(KeyPair::from_pem(pem)?))
    }

    /// From PKCS#8 (RFC 5958), DER.
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from(der);
        Ok(Self::new(KeyPair::try_from(&der)?))
    }

    pub(super) fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.pair.serialize_der())
    }

    pub(super) fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }

    fn new(pair: KeyPair) -> Self {
        let spki = pair.subject_public_key_info();
        Self {
            key_id: key_id(&spki),
            spki,
            pair,
        }
    }
}

impl CaKey for SoftwareKey {
    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &ToBeSigned) -> Result<Vec<u8>, KeyError> {
        Ok(self.pair.sign(message.as_bytes())?)
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareKey({})", self.key_id)
    }
}
