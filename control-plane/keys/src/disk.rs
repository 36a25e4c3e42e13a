//! Keys as PEM files (PKCS#8) in one directory, owner-only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_serve::{bounded_file, durable_file};
use zeroize::Zeroizing;

use super::software::SoftwareKey;
use super::{CaKey, KeyError, KeyStore};

/// Largest file of a key, in bytes; `countersign backup` takes no larger one either.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// The files.
#[derive(Debug)]
pub struct DiskKeys {
    directory: PathBuf,
}

impl DiskKeys {
    /// In this directory, which is there.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    fn path(&self, key_id: &str) -> PathBuf {
        self.directory.join(format!("{key_id}.pem"))
    }

    /// Writes a key, so that it is there also after the power was cut. `named` is what an error calls it.
    fn keep(&self, key: &SoftwareKey, named: &str) -> Result<(), KeyError> {
        let written = durable_file::write(&self.path(key.key_id()), key.to_pem().as_bytes());
        written.map_err(|error| {
            let key_id = named.to_owned();
            KeyError::Io { key_id, error }
        })
    }

    fn read(&self, key_id: &str) -> Result<SoftwareKey, KeyError> {
        let damaged = || KeyError::Damaged(key_id.to_owned());
        let read = bounded_file::read_own(&self.path(key_id), MAX_KEY_BYTES);
        let pem = read.map_err(|error| {
            let key_id = key_id.to_owned();
            KeyError::Io { key_id, error }
        })?;
        let pem = pem.ok_or_else(|| KeyError::Gone(key_id.to_owned()))?;
        let pem = str::from_utf8(&pem).map_err(|_| damaged())?;
        let key = SoftwareKey::from_pem(pem).map_err(|_| damaged())?;
        if key.key_id() == key_id {
            Ok(key)
        } else {
            Err(damaged())
        }
    }
}

impl KeyStore for DiskKeys {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        let key = SoftwareKey::generate()?;
        self.keep(&key, "new")?;
        Ok(Arc::new(key))
    }

    fn load(&self, key_id: &str, _: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        Ok(Arc::new(self.read(key_id)?))
    }

    fn give(&self, key_id: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Ok(self.read(key_id)?.to_pkcs8())
    }

    fn take(&self, key_id: &str, pkcs8: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        let damaged = || KeyError::Damaged(key_id.to_owned());
        let key = SoftwareKey::from_pkcs8(pkcs8).map_err(|_| damaged())?;
        if key.key_id() != key_id {
            return Err(damaged());
        }
        self.keep(&key, key_id)?;
        Ok(Arc::new(key))
    }

    fn holds(&self, key_id: &str, _: &[u8]) -> Result<bool, KeyError> {
        let held = self.path(key_id).try_exists();
        held.map_err(|error| KeyError::Io {
            key_id: key_id.to_owned(),
            error,
        })
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        durable_file::remove(&self.path(key_id)).map_err(|error| KeyError::Io {
            key_id: key_id.to_owned(),
            error,
        })
    }
}
