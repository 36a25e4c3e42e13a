//! CA keys as the rest of the control plane sees them, wherever they live.
//!
//! The traits are small enough for a token that never gives a key out: make one, find one by its
//! id, sign, destroy. A key id is the first 20 bytes of SHA-256 over the SubjectPublicKeyInfo (RFC
//! 7093 section 2, method 1), lower-case hex.

mod condition;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use condition::{Condition, StoreState};

/// A kind of key store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Files in the data directory, owner-only.
    Disk,
    /// This process: lost when it ends.
    Memory,
    /// A PKCS#11 token, whose keys never leave it.
    Pkcs11,
}

impl StoreKind {
    /// Its name in configuration, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Pkcs11 => "pkcs11",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a CA key signs. Only [`sign`](crate::sign::sign), of what the log holds,
/// [`request`](crate::request) and [`asking`](crate::asking) make one, so that no key signs anything else.
#[derive(Clone, Debug)]
pub struct ToBeSigned(Arc<[u8]>);

impl ToBeSigned {
    pub(crate) fn new(message: &[u8]) -> Self {
        Self(message.into())
    }

    /// For tests of key stores.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(message: &[u8]) -> Self {
        Self::new(message)
    }

    /// The message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why a key cannot be used. Never holds key bytes or a PIN.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store cannot be read or written.
    #[error("CA key {key_id} cannot be used: {error}")]
    Io {
        /// Which key; `new` while it is made.
        key_id: String,
        /// Why.
        error: std::io::Error,
    },
    /// The store works and holds no such key.
    #[error("CA key {0} is not in its key store any more")]
    Gone(String),
    /// Its store makes, uses and destroys keys, and neither gives them out nor takes them in.
    #[error("CA key {0} cannot leave its key store")]
    NeverLeaves(String),
    /// What is stored is no key of ours, or another key.
    #[error("CA key {0} is damaged")]
    Damaged(String),
    /// Another replica logged the certificate: it alone signs it.
    #[error("the certificate was logged by another replica, and this one does not sign it")]
    LoggedElsewhere,
    /// The cryptographic library refused.
    #[error("the cryptographic library refused: {0}")]
    Crypto(#[from] rcgen::Error),
    /// The store cannot be used now; it is looked at again by itself.
    #[error("the key store {store} is not ready: {condition}")]
    NotReady {
        /// Which store.
        store: StoreKind,
        /// Its state and why.
        condition: Condition,
    },
    /// A key is in a store that the configuration does not describe.
    #[error("the key store {0} is not configured")]
    NotConfigured(StoreKind),
}

/// One CA key (ECDSA P-256), wherever it lives.
pub trait CaKey: fmt::Debug + Send + Sync {
    /// Its id, lower-case hex.
    fn key_id(&self) -> &str;
    /// Its SubjectPublicKeyInfo, DER.
    fn spki(&self) -> &[u8];
    /// Whether it can be used, as far as is known. For whoever logs before it signs.
    ///
    /// # Errors
    /// What [`CaKey::sign`] would say, without asking a device.
    fn ready(&self) -> Result<(), KeyError> {
        Ok(())
    }
    /// An ECDSA signature (DER) over SHA-256 of the message.
    ///
    /// # Errors
    /// The key cannot be used.
    fn sign(&self, message: &ToBeSigned) -> Result<Vec<u8>, KeyError>;
}

/// A place for CA keys.
pub trait KeyStore: fmt::Debug + Send + Sync {
    /// Makes a key that is kept on return.
    ///
    /// # Errors
    /// It could not be made or kept.
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError>;
    /// Finds a key. A token is not asked before it signs, so that it may be absent now; that is
    /// why the public key is passed in.
    ///
    /// # Errors
    /// It is not there, or is another.
    fn load(&self, key_id: &str, spki: &[u8]) -> Result<Arc<dyn CaKey>, KeyError>;
    /// Whether a key is there. A token is asked.
    ///
    /// # Errors
    /// The store cannot say so now.
    fn holds(&self, key_id: &str, spki: &[u8]) -> Result<bool, KeyError> {
        match self.load(key_id, spki) {
            Ok(_) => Ok(true),
            Err(KeyError::Gone(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
    /// A key as PKCS#8 (DER), for another control plane to take over.
    ///
    /// # Errors
    /// The store gives no key out, or has none of this id.
    fn give(&self, key_id: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Err(KeyError::NeverLeaves(key_id.to_owned()))
    }
    /// Takes over what [`KeyStore::give`] gave: the key of this id, which is kept on return.
    ///
    /// # Errors
    /// The store takes none in, it is another key, or it could not be kept.
    fn take(&self, key_id: &str, _: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        Err(KeyError::NeverLeaves(key_id.to_owned()))
    }
    /// Destroys a key; one that is not there is no error.
    ///
    /// # Errors
    /// It may still be there.
    fn destroy(&self, key_id: &str) -> Result<(), KeyError>;
    /// Whether it can be used, as far as is known.
    fn condition(&self) -> Condition {
        Condition::ready()
    }
    /// Looks again, and mends what can be mended. May wait for a device.
    fn probe(&self) {}
}
