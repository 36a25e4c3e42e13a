//! Keys in a PKCS#11 token: made there, never taken out, used there.
//!
//! A signature is one call of the module, which blocks and may never return: that is bounded by
//! whoever asks ([`deadline`](super::deadline)). What the module answers is verified before it is
//! used, for the module is not our code. [`module`] loads it, [`link`] keeps the token open, [`objects`]
//! is what is asked in a session.

mod fault;
mod link;
mod module;
mod objects;
mod pin;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod tokens;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use countersign_ca::der;
use countersign_issue::key::key_id;
use sha2::{Digest, Sha256};

use super::{
    CaKey, Condition, KeyError, KeyStore, Pkcs11Settings, StoreKind, StoreState, ToBeSigned,
};
use fault::Fault;
use link::Link;
pub(super) use link::MAX_SESSIONS;

/// The token.
#[derive(Debug)]
pub(super) struct Pkcs11Keys(Arc<Link>);

impl Pkcs11Keys {
    /// Nothing is loaded or opened before the first [`probe`](KeyStore::probe).
    pub(super) fn new(settings: Pkcs11Settings) -> Self {
        Self(Arc::new(Link::new(settings)))
    }

    fn key(&self, key_id: &str, spki: &[u8]) -> Arc<dyn CaKey> {
        Arc::new(TokenKey {
            key_id: key_id.to_owned(),
            spki: spki.to_owned(),
            link: self.0.clone(),
        })
    }
}

impl KeyStore for Pkcs11Keys {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        let made = self.0.ask_once(objects::generate);
        let spki = made.map_err(|fault| key_error(fault, "new"))?;
        Ok(self.key(&key_id(&spki), &spki))
    }

    fn load(&self, key_id: &str, spki: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        Ok(self.key(key_id, spki))
    }

    fn holds(&self, key_id: &str, _: &[u8]) -> Result<bool, KeyError> {
        let found = self.0.ask(|session| objects::holds(session, key_id));
        found.map_err(|fault| key_error(fault, key_id))
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        let done = self.0.ask(|session| objects::destroy(session, key_id));
        done.map_err(|fault| key_error(fault, key_id))
    }

    fn condition(&self) -> Condition {
        self.0.condition()
    }

    fn probe(&self) {
        self.0.probe();
    }
}

/// A key that stays in the token: here are its name and its public half.
struct TokenKey {
    key_id: String,
    spki: Vec<u8>,
    link: Arc<Link>,
}

impl CaKey for TokenKey {
    fn key_id(&self) -> &str {
        &self.key_id
    }

    fn spki(&self) -> &[u8] {
        &self.spki
    }

    fn ready(&self) -> Result<(), KeyError> {
        let condition = self.link.condition();
        if condition.is_ready() {
            return Ok(());
        }
        Err(key_error(Fault::NotReady(condition), &self.key_id))
    }

    fn sign(&self, message: &ToBeSigned) -> Result<Vec<u8>, KeyError> {
        let digest = Sha256::digest(message.as_bytes());
        let asked = self
            .link
            .ask(|session| objects::sign(session, &self.key_id, &digest));
        let raw = asked.map_err(|fault| key_error(fault, &self.key_id))?;
        let signature = der::ecdsa_signature(&raw);
        let point = &self.spki[self.spki.len().saturating_sub(der::P256_POINT_BYTES)..];
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .verify(message.as_bytes(), &signature)
            .map_err(|_| KeyError::Damaged(self.key_id.clone()))?;
        Ok(signature)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.key_id)
    }
}

fn key_error(fault: Fault, key_id: &str) -> KeyError {
    match fault {
        Fault::KeyGone => KeyError::Gone(key_id.to_owned()),
        other => KeyError::NotReady {
            store: StoreKind::Pkcs11,
            condition: other.into(),
        },
    }
}

impl From<Fault> for Condition {
    fn from(fault: Fault) -> Self {
        let (state, reason) = match fault {
            Fault::NotReady(condition) => return condition,
            Fault::ModuleMissing(reason) => (StoreState::ModuleMissing, reason),
            Fault::TokenAmbiguous(reason) => (StoreState::TokenAmbiguous, reason),
            Fault::TokenAbsent(reason) => (StoreState::TokenAbsent, reason),
            Fault::WrongPin(reason) => (StoreState::WrongPin, reason),
            Fault::Device(reason) => (StoreState::Failed, reason),
            Fault::Stale => (StoreState::Failed, "the module was started anew".to_owned()),
            Fault::KeyGone => (StoreState::Failed, "the key is not in it".to_owned()),
        };
        Self::new(state, reason)
    }
}
