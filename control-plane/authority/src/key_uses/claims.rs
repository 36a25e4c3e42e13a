//! Which of the keys that are claimed have their certificates in the log by now.
//!
//! Where several control planes share a database, a key may be claimed on two of them at once, for two holders.
//! It is the holder's whose certificate was logged first. The database says that in the order of commits, before
//! the certificate of the other is taken.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_model::tables::give_back;

/// The claims that stand, by SHA-256 of the key's SubjectPublicKeyInfo, and whether each is logged. The lock is
/// taken below that of the state, and nothing is called under it.
#[derive(Debug, Default)]
pub(crate) struct Claims(Mutex<HashMap<[u8; 32], bool>>);

impl Claims {
    /// A key was claimed.
    pub(super) fn begin(&self, spki_sha256: [u8; 32]) {
        self.lock().insert(spki_sha256, false);
    }

    /// The log in the database has a certificate for the key. Nothing is noted of a key that nobody claims.
    pub(crate) fn logged(&self, spki_sha256: &[u8; 32]) {
        if let Some(is_logged) = self.lock().get_mut(spki_sha256) {
            *is_logged = true;
        }
    }

    /// Whether the key is claimed, and its certificate logged.
    pub(super) fn is_logged(&self, spki_sha256: &[u8; 32]) -> bool {
        self.lock().get(spki_sha256).copied().unwrap_or_default()
    }

    /// The claim is over.
    pub(super) fn end(&self, spki_sha256: &[u8; 32]) {
        let mut claims = self.lock();
        claims.remove(spki_sha256);
        give_back(&mut claims);
    }

    /// Whether nobody claims any key.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
