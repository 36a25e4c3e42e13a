//! What survives a restart: the node's credential and the newest bundle, in `state_dir`.
//!
//! The directory is 0700 and every file is created 0600. A file is replaced by a rename after its
//! content and before its directory are on disk, so a crash or a full disk leaves the old file
//! whole. Chain and key of the node are in one file and can never be of two credentials; before the
//! first chain there is the key of the `attempt`. Workload keys are never written.

mod attempt;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_model::{Lifetime, Serial, SpiffeId, TrustDomain};
use countersign_serve::ownership::{DirectoryError, NotOurs, make_ours};
use countersign_serve::{blocking, bounded_file};
use countersign_verify::{BundleError, TrustBundle};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::holdings::Svid;
pub(crate) use attempt::AttemptError;

/// Largest file that is read back, in bytes.
pub(crate) const MAX_STATE_FILE_BYTES: u64 = 1024 * 1024;
const NODE_FILE: &str = "node.json";
const BUNDLE_FILE: &str = "bundle.json";
const ADDRESSES_FILE: &str = "addresses.json";
const LOCK_FILE: &str = "lock";
/// The socket in the state directory that tells the status of a running sidecar.
pub(crate) const STATUS_SOCKET: &str = "status.sock";

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StateError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else can exchange what is in it.
    #[error(transparent)]
    NotOurs(#[from] NotOurs),
    /// Another sidecar runs on this directory.
    #[error("{} is in use by another sidecar", .0.display())]
    InUse(PathBuf),
    /// A file does not hold what was written there.
    #[error("{} is damaged: {what}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl From<DirectoryError> for StateError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NotOurs(not_ours) => not_ours.into(),
            DirectoryError::Io {
                action,
                path,
                source,
            } => Self::Io {
                action,
                path,
                source,
            },
        }
    }
}

/// The node's credential as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct NodeCredential {
    /// Chain and key.
    pub(crate) svid: Arc<Svid>,
    /// The entitlement's `min_key_epoch` when the key was made.
    pub(crate) key_epoch: u64,
}

/// The bundle as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredBundle {
    /// The roots.
    pub(crate) bundle: Arc<TrustBundle>,
    /// Version of the discovery resource that brought it; `None` where it came by attestation.
    pub(crate) resource_version: Option<String>,
    /// SHA-256 of the roots that the control plane took out of it, the newest last; `None` where an
    /// older version, which did not note them, has kept the bundle.
    pub(crate) retired: Option<Vec<[u8; 32]>>,
}

/// An exclusively locked state directory.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory where it is missing, takes away what others may do there, and locks it.
    ///
    /// # Errors
    /// No permission, another user who can exchange it, or another sidecar that holds the lock.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        make_ours(path)?;
        let lock = lock(&path.join(LOCK_FILE))?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where a file of this directory is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The node's credential, if one was ever stored.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    pub(crate) fn load_node(&self) -> Result<Option<NodeCredential>, StateError> {
        let Some(text) = self.read(NODE_FILE)? else {
            return Ok(None);
        };
        let damaged = |what: String| self.damaged(NODE_FILE, what);
        let file: NodeFile = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        let key_hex = Zeroizing::new(file.key);
        let key = Zeroizing::new(hex::decode(&*key_hex).map_err(|_| damaged("key".into()))?);
        let svid = Svid {
            id: file.id,
            chain: from_hex(&file.chain).map_err(|_| damaged("chain".into()))?,
            key,
            serial: file.serial,
            lifetime: file.lifetime,
        };
        Ok(Some(NodeCredential {
            svid: Arc::new(svid),
            key_epoch: file.key_epoch,
        }))
    }

    /// Replaces the node's credential, which ends the attempt to get one. On return it is on disk.
    ///
    /// # Errors
    /// The old file stands unharmed.
    pub(crate) fn store_node(&self, node: &NodeCredential) -> Result<(), StateError> {
        let key = Zeroizing::new(hex::encode(&*node.svid.key));
        let file = NodeFileRef {
            id: &node.svid.id,
            serial: node.svid.serial,
            lifetime: node.svid.lifetime,
            key_epoch: node.key_epoch,
            chain: to_hex(&node.svid.chain),
            key: &key,
        };
        let text = Zeroizing::new(serde_json::to_vec(&file).expect("plain data serializes"));
        self.replace(NODE_FILE, &text)?;
        self.end_attempt();
        Ok(())
    }

    /// The newest bundle, if one was ever stored.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged or is of another trust domain.
    pub(crate) fn load_bundle(
        &self,
        trust_domain: &TrustDomain,
    ) -> Result<Option<StoredBundle>, StateError> {
        let Some(text) = self.read(BUNDLE_FILE)? else {
            return Ok(None);
        };
        let damaged = |what: String| self.damaged(BUNDLE_FILE, what);
        let file: BundleFile = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if file.trust_domain != trust_domain.as_str() {
            return Err(damaged(format!("it is of {}", file.trust_domain)));
        }
        let roots = from_hex(&file.roots).map_err(|_| damaged("roots".into()))?;
        let bundle = TrustBundle::new(trust_domain.clone(), roots)
            .map_err(|error: BundleError| damaged(error.to_string()))?;
        let retired = file.retired.as_deref().map(read_digests).transpose();
        let retired = retired.map_err(|_| damaged("retired".into()))?;
        Ok(Some(StoredBundle {
            bundle: Arc::new(bundle),
            resource_version: Some(file.resource_version).filter(|version| !version.is_empty()),
            retired,
        }))
    }

    /// Replaces the newest bundle. On return it is on disk.
    ///
    /// # Errors
    /// The old file stands unharmed.
    pub(crate) fn store_bundle(&self, stored: &StoredBundle) -> Result<(), StateError> {
        let file = BundleFile {
            trust_domain: stored.bundle.trust_domain().as_str().to_owned(),
            resource_version: stored.resource_version.clone().unwrap_or_default(),
            roots: to_hex(stored.bundle.roots()),
            retired: stored
                .retired
                .as_ref()
                .map(|digests| digests.iter().map(hex::encode).collect()),
        };
        let text = serde_json::to_vec(&file).expect("plain data serializes");
        self.replace(BUNDLE_FILE, &text)
    }

    /// Where control planes are, as one of them told; none where that was never kept.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    pub(crate) fn load_addresses(&self) -> Result<Vec<String>, StateError> {
        let Some(text) = self.read(ADDRESSES_FILE)? else {
            return Ok(Vec::new());
        };
        let read = serde_json::from_slice(&text);
        read.map_err(|error| self.damaged(ADDRESSES_FILE, error.to_string()))
    }

    /// Replaces them. On return they are on disk.
    ///
    /// # Errors
    /// The old file stands unharmed.
    pub(crate) fn store_addresses(&self, addresses: &[String]) -> Result<(), StateError> {
        let text = serde_json::to_vec(addresses).expect("plain data serializes");
        self.replace(ADDRESSES_FILE, &text)
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
        let path = self.file(name);
        bounded_file::read_own(&path, MAX_STATE_FILE_BYTES).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => self.damaged(name, error.to_string()),
            _ => io_error("read", &path)(error),
        })
    }

    /// A slow disk keeps nobody waiting but the caller.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        blocking(|| self.replace_now(name, content))
    }

    fn replace_now(&self, name: &str, content: &[u8]) -> Result<(), StateError> {
        let path = self.file(name);
        let draft = self.file(&format!("{name}.new"));
        let written = write_durably(&draft, content)
            .and_then(|()| fs::rename(&draft, &path).map_err(io_error("replace", &path)))
            .and_then(|()| {
                File::open(&self.path)
                    .and_then(|directory| directory.sync_all())
                    .map_err(io_error("sync", &self.path))
            });
        if written.is_err() {
            // Best effort: the next write begins by removing it as well.
            let _ = fs::remove_file(&draft);
        }
        written
    }

    fn damaged(&self, name: &str, what: String) -> StateError {
        StateError::Damaged {
            path: self.file(name),
            what,
        }
    }
}

#[derive(Deserialize)]
struct NodeFile {
    id: SpiffeId,
    serial: Serial,
    lifetime: Lifetime,
    key_epoch: u64,
    chain: Vec<String>,
    key: String,
}

#[derive(Serialize)]
struct NodeFileRef<'a> {
    id: &'a SpiffeId,
    serial: Serial,
    lifetime: Lifetime,
    key_epoch: u64,
    chain: Vec<String>,
    key: &'a str,
}

#[derive(Serialize, Deserialize)]
struct BundleFile {
    trust_domain: String,
    /// Empty where it came by attestation.
    resource_version: String,
    roots: Vec<String>,
    /// An older version wrote none.
    #[serde(default)]
    retired: Option<Vec<String>>,
}

fn write_durably(path: &Path, content: &[u8]) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove", path)(error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error("make", path))?;
    file.write_all(content).map_err(io_error("write", path))?;
    file.sync_all().map_err(io_error("sync", path))
}

fn lock(path: &Path) -> Result<File, StateError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io_error("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(StateError::InUse(path.parent().unwrap_or(path).to_owned()))
        }
        Err(fs::TryLockError::Error(source)) => Err(io_error("lock", path)(source)),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> StateError {
    move |source| StateError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn read_digests(digits: &[String]) -> Result<Vec<[u8; 32]>, hex::FromHexError> {
    let read = |digits: &String| {
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).map(|()| digest)
    };
    digits.iter().map(read).collect()
}

fn to_hex(certificates: &[CertificateDer<'_>]) -> Vec<String> {
    certificates.iter().map(hex::encode).collect()
}

fn from_hex(texts: &[String]) -> Result<Vec<CertificateDer<'static>>, hex::FromHexError> {
    texts
        .iter()
        .map(|text| Ok(CertificateDer::from(hex::decode(text)?)))
        .collect()
}

#[cfg(test)]
mod tests;
