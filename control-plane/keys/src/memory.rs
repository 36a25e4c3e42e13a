//! Keys that end with this process: an issuing CA needs no more, for its successor is made under
//! the same parent when the process comes back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::software::SoftwareKey;
use super::{CaKey, KeyError, KeyStore};

/// The keys. As many as there are CAs that sign: retired ones are destroyed.
#[derive(Debug, Default)]
pub(super) struct MemoryKeys(Mutex<HashMap<String, Arc<SoftwareKey>>>);

impl MemoryKeys {
    fn keys(&self) -> MutexGuard<'_, HashMap<String, Arc<SoftwareKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for MemoryKeys {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        let key = Arc::new(SoftwareKey::generate()?);
        self.keys().insert(key.key_id().to_owned(), key.clone());
        Ok(key)
    }

    fn load(&self, key_id: &str, _: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        match self.keys().get(key_id) {
            Some(key) => Ok(key.clone()),
            None => Err(KeyError::Gone(key_id.to_owned())),
        }
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        self.keys().remove(key_id);
        Ok(())
    }
}
