//! A backup while everything runs.
//!
//! The database is copied first and the log linked after it, both into a folder of their own: what
//! is streamed from there holds nothing up, however slowly it is read. What the database accounts
//! for is in the copy of the log; what the log tells beyond that is voided when the copy is opened,
//! as after a crash. Keys are read together with the database, while no CA changes.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use countersign_backup::{FORMAT, Manifest, Pack};
use countersign_ca::log::FOLDER;
use countersign_refusal::{Denied, Unavailable};
use countersign_serve::bounded_file;
use countersign_store::{DATABASE, DataDir};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::ca_hierarchy::KEYS;
use super::scratch::Scratch;
use super::{Authority, AuthorityError};

/// Most keys of a backup.
const MAX_KEYS: usize = 1_024;
/// Longest key file, in bytes.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// Where backups are made, one at a time.
#[derive(Debug)]
pub(super) struct Backups {
    running: tokio::sync::Mutex<()>,
    data_dir: DataDir,
}

impl Backups {
    pub(super) fn new(data_dir: DataDir) -> Self {
        Self {
            running: tokio::sync::Mutex::default(),
            data_dir,
        }
    }

    /// The directory that a backup is made of, and in.
    pub(super) fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }
}

/// What a backup holds.
#[derive(Clone, Debug)]
pub struct BackedUp {
    /// What its manifest says, without the files.
    pub manifest: Manifest,
    /// How many files.
    pub files: usize,
}

/// The name of a key file and its content.
type Keys = Vec<(String, Zeroizing<Vec<u8>>)>;

impl Authority {
    /// Writes a backup of everything that is durable now.
    ///
    /// # Errors
    /// Another backup is being made; `out` or the disk failed: what was written is no backup.
    pub async fn back_up(
        &self,
        with_keys: bool,
        out: impl Write + Send + 'static,
        now: Timestamp,
    ) -> Result<BackedUp, AuthorityError> {
        let _one_at_a_time = self.backups.running.try_lock().map_err(|_| Denied {
            code: "backup_running",
            message: "another backup is being made".to_owned(),
            remedy: "wait until it is done",
        })?;
        let copies = Scratch::new(&self.backups.data_dir).map_err(unavailable)?;
        let keys = {
            let _no_change_of_keys = self.turn().await?;
            self.copy_database(&copies.database()).await?;
            if with_keys {
                self.keys_on_disk()
            } else {
                Ok(Keys::new())
            }
            .map_err(unavailable)?
        };
        let log = self.ledger.log().bytes().clone();
        let manifest = self.manifest(with_keys, now);
        let packed = tokio::task::spawn_blocking(move || {
            let links = log.snapshot(&copies.log()).map_err(io::Error::other)?;
            let mut pack = Pack::new(out);
            pack.file(&copies.database(), DATABASE, None)?;
            for (name, key) in keys {
                pack.bytes(&key, &format!("{KEYS}/{name}"))?;
            }
            pack.folder(links.folder(), FOLDER, &|file| links.length(file))?;
            let files = pack.count();
            pack.finish(manifest.clone())?;
            Ok(BackedUp { manifest, files })
        });
        let packed = packed.await;
        packed.map_err(Unavailable::retry)?.map_err(unavailable)
    }

    /// Still without files.
    fn manifest(&self, with_keys: bool, made_at: Timestamp) -> Manifest {
        Manifest {
            format: FORMAT,
            trust_domain: self.trust_domain().to_string(),
            epoch: self.epoch,
            log_id: self.ledger.log().id(),
            log_size: self.ledger.log().size(),
            made_at,
            with_keys,
            files: Default::default(),
        }
    }

    async fn copy_database(&self, to: &Path) -> Result<(), AuthorityError> {
        self.backups.data_dir.touch(to).map_err(unavailable)?;
        Ok(self.store.copy_to(to).await?)
    }

    /// The CA keys. The key of the checkpoints is elsewhere and is not backed up: what is restored
    /// is another log, and signs with a key of its own.
    fn keys_on_disk(&self) -> io::Result<Keys> {
        let mut keys = Keys::new();
        for file in fs::read_dir(self.backups.data_dir.path().join(KEYS))? {
            let file = file?;
            let Ok(name) = file.file_name().into_string() else {
                continue;
            };
            if !file.file_type()?.is_file() {
                continue;
            }
            let foreign = || io::Error::other("the folder of the keys holds something else");
            if keys.len() >= MAX_KEYS {
                return Err(foreign());
            }
            let key = bounded_file::read_own(&file.path(), MAX_KEY_BYTES);
            let key = key.map_err(|error| match error.kind() {
                io::ErrorKind::FileTooLarge => foreign(),
                _ => error,
            })?;
            keys.extend(key.map(|key| (name, key)));
        }
        Ok(keys)
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "used as a function of map_err"
)]
fn unavailable(error: io::Error) -> AuthorityError {
    Unavailable::retry(format!("no backup was made: {error}")).into()
}
