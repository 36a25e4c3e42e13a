//! Keys as PEM files (PKCS#8) in one directory, owner-only.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_serve::{bounded_file, durable_file};

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
}

impl KeyStore for DiskKeys {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        let key = SoftwareKey::generate()?;
        durable_file::write(&self.path(key.key_id()), key.to_pem().as_bytes()).map_err(
            |error| {
                let key_id = "new".to_owned();
                KeyError::Io { key_id, error }
            },
        )?;
        Ok(Arc::new(key))
    }

    fn load(&self, key_id: &str, _: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
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
            Ok(Arc::new(key))
        } else {
            Err(damaged())
        }
    }

    fn holds(&self, key_id: &str, _: &[u8]) -> Result<bool, KeyError> {
        let held = self.path(key_id).try_exists();
        held.map_err(|error| KeyError::Io {
            key_id: key_id.to_owned(),
            error,
        })
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        match std::fs::remove_file(self.path(key_id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(KeyError::Io {
                key_id: key_id.to_owned(),
                error,
            }),
            _ => Ok(()),
        }
    }
}
