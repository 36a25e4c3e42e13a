//! What the entries of all logs say together: how many of each kind, whether every certificate
//! bears the coordinate of its entry, and whether a public key was certified for two identities.

use std::collections::{BTreeMap, HashMap};

use countersign_model::Serial;
use countersign_proto::log::entry::What;
use countersign_proto::log::{Joined, Restored, Sealed};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::entry::{Certified, certified, decode, kind};
use crate::named::{Join, MAX_NAMED, Seal};

/// Most public keys that are compared: about a gigabyte of them.
const MAX_KEYS: usize = 8_000_000;
/// Most restores that are reported.
const MAX_RESTORES: usize = 100;
/// Bytes of a SHA-256 hash.
const HASH_BYTES: usize = 32;
/// Most shared keys that are reported.
const MAX_SHARED: usize = 20;

/// A public key that was certified for two identities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedKey {
    /// SHA-256 of its SubjectPublicKeyInfo, in hexadecimal digits.
    pub spki_sha256: String,
    /// The certificates, in the order of the logs.
    pub serials: [Serial; 2],
    /// The identity of the second serial; the first one's is another.
    pub id: String,
}

/// That a log goes on from another one: it was restored from a backup of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GoesOn {
    /// The id of that log, in hexadecimal digits.
    pub log_id: String,
    /// How many of its entries this log begins with.
    pub entries: u64,
}

impl GoesOn {
    /// Whether a checkpoint of this origin is one of that log.
    pub(crate) fn is_from(&self, origin: &str) -> bool {
        let id = origin.rsplit_once('/');
        id.is_some_and(|(_, id)| id == self.log_id)
    }
}

/// The first certificate of a public key.
#[derive(Debug)]
struct First {
    serial: Serial,
    /// Half a SHA-256 of the identity.
    id: [u8; 16],
}

/// The public keys of every log that is verified together.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    first: HashMap<[u8; 32], First>,
    pub(crate) shared: Vec<SharedKey>,
    /// Certificates whose key found no place among [`MAX_KEYS`].
    pub(crate) not_compared: u64,
}

impl Keys {
    fn add(&mut self, certified: &Certified) {
        let Some(id) = &certified.id else {
            return;
        };
        let hash: [u8; 32] = Sha256::digest(id).into();
        let id_hash = *hash.first_chunk().expect("SHA-256 has 32 bytes");
        if let Some(first) = self.first.get(&certified.spki_sha256) {
            if first.id != id_hash && self.shared.len() < MAX_SHARED {
                self.shared.push(SharedKey {
                    spki_sha256: hex::encode(certified.spki_sha256),
                    serials: [first.serial, certified.serial],
                    id: id.clone(),
                });
            }
        } else if self.first.len() < MAX_KEYS {
            let first = First {
                serial: certified.serial,
                id: id_hash,
            };
            self.first.insert(certified.spki_sha256, first);
        } else {
            self.not_compared += 1;
        }
    }
}

/// The entries of one log.
#[derive(Debug)]
pub(crate) struct Census<'a> {
    keys: &'a mut Keys,
    /// Of the log, from its first entry, its first certificate or its last restore.
    pub(crate) log_id: Option<u32>,
    /// What it goes on from, oldest first.
    pub(crate) restores: Vec<GoesOn>,
    /// Other logs that it says have ended.
    pub(crate) seals: Vec<Seal>,
    /// Other logs that it says are there.
    pub(crate) joined: Vec<Join>,
    pub(crate) kinds: BTreeMap<&'static str, u64>,
}

impl<'a> Census<'a> {
    pub(crate) fn new(keys: &'a mut Keys) -> Self {
        Self {
            keys,
            log_id: None,
            restores: Vec::new(),
            seals: Vec::new(),
            joined: Vec::new(),
            kinds: BTreeMap::new(),
        }
    }

    /// Counts an entry. `Err` says what is wrong with it.
    ///
    /// That a serial names the index of its own entry also says that no serial and no index is
    /// there twice.
    pub(crate) fn add(&mut self, index: u64, bytes: &[u8]) -> Result<(), String> {
        let entry = decode(bytes)?;
        *self.kinds.entry(kind(&entry)).or_default() += 1;
        match &entry.what {
            Some(What::Opened(opened)) if index == 0 => {
                self.log_id = Some(opened.log_id);
                Ok(())
            }
            Some(What::Opened(_)) => Err("opens a log that is already open".to_owned()),
            Some(What::Restored(restored)) => self.restored(index, restored),
            Some(What::Issued(issued)) => {
                let certified = certified(issued)?;
                self.check(index, certified.serial)?;
                self.keys.add(&certified);
                Ok(())
            }
            Some(What::Voided(voided)) if voided.index >= index => Err(format!(
                "voids entry {}, which is not an earlier one",
                voided.index
            )),
            Some(What::Sealed(sealed)) => self.sealed(index, sealed),
            Some(What::Joined(joined)) => self.joined(index, joined),
            _ => Ok(()),
        }
    }

    /// A copy of a log goes on as another one: the serials that follow name that.
    fn restored(&mut self, index: u64, restored: &Restored) -> Result<(), String> {
        let previous = *self.log_id.get_or_insert(restored.previous_log_id);
        if restored.previous_log_id != previous || restored.backup_size != index {
            return Err(format!(
                "tells of a backup of log {:06x} with {} entries, follows log {previous:06x}",
                restored.previous_log_id, restored.backup_size
            ));
        }
        self.log_id = Some(restored.log_id);
        if self.restores.len() < MAX_RESTORES {
            self.restores.push(GoesOn {
                log_id: format!("{previous:06x}"),
                entries: index,
            });
        }
        Ok(())
    }

    fn sealed(&mut self, index: u64, sealed: &Sealed) -> Result<(), String> {
        let log_id = self.named(sealed.log_id)?;
        if sealed.root_hash.len() != HASH_BYTES {
            let bytes = sealed.root_hash.len();
            return Err(format!(
                "seals log {log_id} with a root hash of {bytes} bytes"
            ));
        }
        self.seals.push(Seal {
            log_id,
            replica: sealed.replica.clone(),
            size: sealed.size,
            root_hash: hex::encode(&sealed.root_hash),
            index,
        });
        Ok(())
    }

    fn joined(&mut self, index: u64, joined: &Joined) -> Result<(), String> {
        self.joined.push(Join {
            log_id: self.named(joined.log_id)?,
            replica: joined.replica.clone(),
            index,
        });
        Ok(())
    }

    /// The id of another log that this one names.
    fn named(&self, log_id: u32) -> Result<String, String> {
        if self.seals.len() + self.joined.len() >= MAX_NAMED {
            return Err(format!("names more than {MAX_NAMED} other logs"));
        }
        if self.log_id == Some(log_id) {
            return Err("names its own log as that of another replica".to_owned());
        }
        Ok(format!("{log_id:06x}"))
    }

    fn check(&mut self, index: u64, serial: Serial) -> Result<(), String> {
        let log_id = *self.log_id.get_or_insert(serial.log_id());
        if serial.index() != index {
            return Err(format!("serial {serial} names entry {}", serial.index()));
        }
        if serial.log_id() != log_id {
            return Err(format!(
                "serial {serial} names another log than {log_id:06x}"
            ));
        }
        Ok(())
    }
}
