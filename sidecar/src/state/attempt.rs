//! The node key of an attestation that is not over.
//!
//! It is on disk before it is shown, so that an answer that is lost can be asked for again: by this
//! process, or by the next one. A key is made for one evidence, such as a token: with another a fresh
//! one is made.
//! The credential that the attestation brings takes its place.

use std::fs;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::warn;
use zeroize::Zeroizing;

use super::{StateDir, StateError};
use crate::identity::{KeyError, Keypair};

/// The file, within the state directory.
pub(super) const ATTEMPT_FILE: &str = "attestation.json";

#[derive(Deserialize)]
struct AttemptFile {
    /// SHA-256 of the evidence: a token is random enough that this gives nothing away.
    #[serde(rename = "token_sha256")]
    evidence_sha256: String,
    key: String,
}

#[derive(Serialize)]
struct AttemptFileRef<'a> {
    #[serde(rename = "token_sha256")]
    evidence_sha256: &'a str,
    key: &'a str,
}

/// There is no key that an attestation could be tried with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AttemptError {
    /// The key cannot be kept: without that the evidence is not shown.
    #[error("its answer could not be kept: {0}")]
    State(#[from] StateError),
    /// No key could be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl StateDir {
    /// The key to attest with by this evidence: the one that was made for it, or a fresh one. On
    /// return it is on disk.
    ///
    /// # Errors
    /// No key, or a disk that does not take it.
    pub(crate) fn attempt(&self, evidence: &str) -> Result<Arc<Keypair>, AttemptError> {
        let evidence_sha256 = hex::encode(Sha256::digest(evidence));
        if let Some(key) = self.attempted(&evidence_sha256)? {
            return Ok(Arc::new(key));
        }
        let key = Keypair::generate()?;
        let key_hex = Zeroizing::new(hex::encode(&**key.pkcs8()));
        let file = AttemptFileRef {
            evidence_sha256: &evidence_sha256,
            key: &key_hex,
        };
        let text = Zeroizing::new(serde_json::to_vec(&file).expect("plain data serializes"));
        self.replace(ATTEMPT_FILE, &text)?;
        Ok(Arc::new(key))
    }

    /// The key that an earlier attempt made for the same evidence. A damaged file is as good as none:
    /// no credential is lost with it.
    fn attempted(&self, evidence_sha256: &str) -> Result<Option<Keypair>, StateError> {
        let text = match self.read(ATTEMPT_FILE) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            Err(StateError::Damaged { .. }) => return Ok(self.damaged_attempt()),
            Err(error) => return Err(error),
        };
        let Ok(file) = serde_json::from_slice::<AttemptFile>(&text) else {
            return Ok(self.damaged_attempt());
        };
        let key_hex = Zeroizing::new(file.key);
        if file.evidence_sha256 != evidence_sha256 {
            return Ok(None);
        }
        let pkcs8 = hex::decode(&*key_hex).map(Zeroizing::new).ok();
        let key = pkcs8.and_then(|pkcs8| Keypair::from_pkcs8(&pkcs8).ok());
        Ok(key.or_else(|| self.damaged_attempt()))
    }

    fn damaged_attempt(&self) -> Option<Keypair> {
        let path = self.file(ATTEMPT_FILE);
        warn!(path = %path.display(), "a damaged attestation key is replaced by a fresh one");
        None
    }

    /// The attestation is over: its key is in the credential.
    pub(super) fn end_attempt(&self) {
        let path = self.file(ATTEMPT_FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                warn!(path = %path.display(), %error, "the attestation key was not removed");
            }
            _ => {}
        }
    }
}
