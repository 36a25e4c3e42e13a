//! Key stores: where CA keys are made, kept and used.
//!
//! The traits are small enough for a token that never gives a key out: make one, find one by its
//! id, sign, destroy. A key id is the subject key identifier of the CA: the first 20 bytes of
//! SHA-256 over the SubjectPublicKeyInfo (RFC 7093 section 2, method 1), lower-case hex.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::store::write_atomically;

const KEY_ID_BYTES: usize = 20;

/// Why a key cannot be used. Never holds key bytes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The store holds no such key, or cannot be read or written.
    #[error("CA key {key_id} cannot be used: {error}")]
    Io {
        /// Which key; `new` while it is made.
        key_id: String,
        /// Why.
        error: std::io::Error,
    },
    /// What is stored is no key of ours, or another key.
    #[error("CA key {0} is damaged")]
    Damaged(String),
    /// The cryptographic library refused.
    #[error("the cryptographic library refused: {0}")]
    Crypto(#[from] rcgen::Error),
}

/// One CA key (ECDSA P-256), wherever it lives.
pub(crate) trait CaKey: fmt::Debug + Send + Sync {
    /// Its id, lower-case hex.
    fn key_id(&self) -> &str;
    /// Its SubjectPublicKeyInfo, DER.
    fn spki(&self) -> &[u8];
    /// An ECDSA signature (DER) over SHA-256 of the message.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// A place for CA keys.
pub(crate) trait KeyStore: fmt::Debug + Send + Sync {
    /// Makes a key that is durable on return.
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError>;
    /// Finds a key.
    fn load(&self, key_id: &str) -> Result<Arc<dyn CaKey>, KeyError>;
    /// Destroys a key; one that is not there is no error.
    fn destroy(&self, key_id: &str) -> Result<(), KeyError>;
}

/// The key id of a public key.
pub(crate) fn key_id(spki: &[u8]) -> String {
    hex::encode(&Sha256::digest(spki)[..KEY_ID_BYTES])
}

/// Keys as PEM files (PKCS#8) in one directory, owner-only.
#[derive(Debug)]
pub(crate) struct DiskKeys {
    directory: PathBuf,
}

impl DiskKeys {
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    fn path(&self, key_id: &str) -> PathBuf {
        self.directory.join(format!("{key_id}.pem"))
    }
}

impl KeyStore for DiskKeys {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        let key = DiskKey::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
        let pem = Zeroizing::new(key.pair.serialize_pem());
        write_atomically(&self.path(&key.key_id), pem.as_bytes()).map_err(|error| {
            let key_id = "new".to_owned();
            KeyError::Io { key_id, error }
        })?;
        Ok(Arc::new(key))
    }

    fn load(&self, key_id: &str) -> Result<Arc<dyn CaKey>, KeyError> {
        let damaged = || KeyError::Damaged(key_id.to_owned());
        let pem = std::fs::read_to_string(self.path(key_id)).map_err(|error| KeyError::Io {
            key_id: key_id.to_owned(),
            error,
        })?;
        let pem = Zeroizing::new(pem);
        let key = DiskKey::new(KeyPair::from_pem(&pem).map_err(|_| damaged())?);
        if key.key_id == key_id {
            Ok(Arc::new(key))
        } else {
            Err(damaged())
        }
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        match std::fs::remove_file(self.path(key_id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(KeyError::Io {
                key_id: key_id.to_owned(),
                error,
            }),
            _ => Ok(()),
        }
    }
}

struct DiskKey {
    key_id: String,
    spki: Vec<u8>,
    pair: KeyPair,
}

impl DiskKey {
    fn new(pair: KeyPair) -> Self {
        let spki = pair.subject_public_key_info();
        Self {
            key_id: key_id(&spki),
            spki,
            pair,
        }
    }
}

impl CaKey for DiskKey {
    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(self.pair.sign(message)?)
    }
}

impl fmt::Debug for DiskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskKey({})", self.key_id)
    }
}
