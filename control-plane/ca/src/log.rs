//! The issuance log: durability before the signature.
//!
//! A certificate is prepared for the coordinate that its entry will have, and appended under it in
//! the same step: indexes have no holes, and the serial says where in the log to look. The bytes
//! are kept by `countersign-tlog`; what they mean is in [`super::entries`].

mod known_serials;
mod logged;
mod noted;
mod sealing;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use countersign_issue::{Linted, PrepareError};
use countersign_model::entropy::{Entropy, NoEntropy};
use countersign_model::{Serial, TrustDomain};
use countersign_proto::log::entry::What;
use countersign_refusal::RefusedWrites;
use countersign_tlog::{self as tlog, AppendError, Appended, Archive, LogError};
use jiff::Timestamp;

use super::entries;
use known_serials::KnownSerials;

pub use logged::Logged;
pub use noted::{Noted, Said};
pub use sealing::{SEALED, seal, sealed, sealed_folder};

/// Folder of the log within the data directory.
pub const FOLDER: &str = "log";
/// The key that signs checkpoints, within the data directory: it is no CA key.
const CHECKPOINT_KEY: &str = "log.key";

/// No `voided` entry is longer: a time and an index.
const VOIDED_BYTES: usize = 64;

/// The log of this control plane.
#[derive(Debug)]
pub struct Log {
    id: u32,
    /// Source of the random part of serials.
    entropy: Arc<dyn Entropy>,
    entries: Arc<tlog::Log>,
    refused: RefusedWrites,
    known: KnownSerials,
}

/// Why the log took no certificate.
#[derive(Debug, thiserror::Error)]
pub enum NotLogged {
    /// It was not prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// It was prepared for another place: a bug.
    #[error("the certificate was prepared for another place in the log than the one it was given")]
    OtherSerial,
    /// There are no random bytes for a serial.
    #[error(transparent)]
    NoRandom(#[from] NoEntropy),
    /// A serial has no room for another index.
    #[error("the issuance log is full")]
    Full,
}

impl Log {
    /// Opens the log in the data directory, or makes it. With an archive its entries are kept there
    /// before the disk has them, and what the disk lacks is taken from there; then it blocks on the
    /// archive.
    pub fn open(
        id: u32,
        trust_domain: &TrustDomain,
        data_dir: &Path,
        entropy: Arc<dyn Entropy>,
        archive: Option<Box<dyn Archive>>,
    ) -> Result<Self, LogError> {
        let options = options(id, trust_domain, data_dir);
        let entries = match archive {
            None => tlog::Log::open(&options)?,
            Some(archive) => tlog::Log::open_with(&options, archive)?,
        };
        Ok(Self {
            id,
            entropy,
            entries: Arc::new(entries),
            refused: RefusedWrites::default(),
            known: KnownSerials::default(),
        })
    }

    /// Opens the copy of a log under an id and a key of its own. What the log before it had signed
    /// is moved to `kept`.
    pub fn take_over(
        id: u32,
        trust_domain: &TrustDomain,
        data_dir: &Path,
        kept: &Path,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, LogError> {
        tlog::take_over(&options(id, trust_domain, data_dir), kept)?;
        Self::open(id, trust_domain, data_dir, entropy, None)
    }

    /// Prepares a certificate for the next place in the log and makes it durable there: only then may
    /// it be signed. `prepare` gets the serial that names the place, and must be short, for it runs
    /// while the place is held.
    ///
    /// # Errors
    /// It was not prepared, bears another serial, or is not in the log.
    pub async fn append(
        &self,
        prepare: impl FnOnce(Serial) -> Result<Linted, PrepareError>,
    ) -> Result<Logged, AppendError<NotLogged>> {
        let mut prepared = None;
        let make = |index| {
            let serial = self.serial(index)?;
            let issuance = prepare(serial)?.into_issuance();
            if issuance.serial != serial {
                return Err(NotLogged::OtherSerial);
            }
            let entry = entries::encode(issuance.issued_at, entries::issued(&issuance));
            prepared = Some(issuance);
            Ok(entry)
        };
        let appended = self.entries.append(make).await;
        self.remember(&appended);
        let place = appended?.place;
        let issuance = prepared.expect("an appended entry was made");
        Ok(Logged::new(issuance, place, true))
    }

    /// Makes any other entry durable and says at which index.
    pub async fn note(&self, at: Timestamp, what: What) -> Result<u64, LogError> {
        let appended = self.note_placed(at, what).await;
        appended.map(|appended| appended.index)
    }

    /// As [`Log::note`], and says at which place of the archive too.
    pub async fn note_placed(&self, at: Timestamp, what: What) -> Result<Appended, LogError> {
        let make = |_| Ok::<_, std::convert::Infallible>(entries::encode(at, what));
        let appended = self.entries.append(make).await;
        self.remember(&appended);
        match appended {
            Ok(appended) => Ok(appended),
            Err(AppendError::Log(error)) => Err(error),
            Err(AppendError::Made(never)) => match never {},
        }
    }

    /// Whether the log takes entries, and why not.
    pub fn refused(&self) -> &RefusedWrites {
        &self.refused
    }

    /// An archive that refuses is no disk that does: its owner says so.
    fn remember<E>(&self, appended: &Result<Appended, AppendError<E>>) {
        match appended {
            Ok(_) => {
                self.refused.taken();
            }
            Err(AppendError::Log(error @ (LogError::Refused(_) | LogError::Stopped))) => {
                self.refused.refused(error.to_string());
            }
            Err(_) => {}
        }
    }

    /// Whether the certificate of a serial is in the log. Reads the disk the first time.
    pub fn holds(&self, serial: &Serial) -> Result<bool, LogError> {
        self.known.or_look(serial, || {
            let logged = self.read_back(serial.index())?;
            Ok(logged.is_some_and(|logged| logged.issuance().serial == *serial))
        })
    }

    /// The certificate at an index. `None` where it was pruned or is none.
    ///
    /// # Errors
    /// The log cannot be read, or the entry does not read.
    pub fn read_back(&self, index: u64) -> Result<Option<Logged>, LogError> {
        let Some(bytes) = self.entries.entry(index)? else {
            return Ok(None);
        };
        match Noted::ours(index, &bytes)?.said()? {
            Said::Issued(logged) => Ok(Some(logged)),
            Said::Other(_) | Said::Unknown => Ok(None),
        }
    }

    /// When an entry was made; `None` where it was pruned.
    pub fn made_at(&self, index: u64) -> Result<Option<Timestamp>, LogError> {
        let bytes = self.entries.entry(index)?;
        let made = bytes.map(|bytes| Noted::ours(index, &bytes).map(|noted| noted.at()));
        made.transpose()
    }

    /// Every retained entry from an index on.
    pub fn scan(&self, from: u64) -> impl Iterator<Item = Result<Noted, LogError>> + use<> {
        let entries = self.entries.scan(from);
        entries.map(|entry| entry.and_then(|(index, bytes)| Noted::ours(index, &bytes)))
    }

    /// The indexes that retained entries from an index on void. Longer entries are not decoded.
    pub fn voided(&self, from: u64) -> Result<BTreeSet<u64>, LogError> {
        let mut voided = BTreeSet::new();
        for entry in self.entries.scan(from) {
            let (index, bytes) = entry?;
            if bytes.len() > VOIDED_BYTES {
                continue;
            }
            if let Some(What::Voided(it)) = Noted::ours(index, &bytes)?.what() {
                voided.insert(it.index);
            }
        }
        Ok(voided)
    }

    /// Keeps the signature of a certificate beside its entry. One that power takes away is made
    /// again from the entry.
    pub fn keep_signature(&self, index: u64, signature: &[u8]) -> Result<(), LogError> {
        self.entries.attach(index, signature)
    }

    /// The signature beside an entry.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn signature(&self, index: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.entries.attachment(index)
    }

    /// The id of the log: the first part of its serials.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Number of durable entries.
    pub fn size(&self) -> u64 {
        self.entries.size()
    }

    /// The log as bytes: for checkpoints and retention, which block on the disk.
    pub fn bytes(&self) -> &Arc<tlog::Log> {
        &self.entries
    }

    /// The serial of the certificate at an index, which nothing else will ever have.
    fn serial(&self, index: u64) -> Result<Serial, NotLogged> {
        let mut random = [0; 8];
        self.entropy.fill(&mut random)?;
        Serial::new(self.id, index, random).map_err(|_| NotLogged::Full)
    }
}

fn options(id: u32, trust_domain: &TrustDomain, data_dir: &Path) -> tlog::Options {
    tlog::Options {
        dir: data_dir.join(FOLDER),
        key: data_dir.join(CHECKPOINT_KEY),
        origin: format!("{}/countersign/log/{id:06x}", trust_domain.as_str()),
    }
}

#[cfg(test)]
mod tests;
