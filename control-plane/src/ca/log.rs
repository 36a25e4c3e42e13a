//! The issuance log: durability before the signature.
//!
//! A certificate is prepared for the coordinate that its entry will have, and appended under it in
//! the same step: indexes have no holes, and the serial says where in the log to look. The bytes
//! are kept by `countersign-tlog`; what they mean is in [`super::entries`].

mod found;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand;
use countersign_model::{Serial, TrustDomain};
use countersign_proto::log::entry::What;
use countersign_tlog::{self as tlog, AppendError, LogError};
use found::Found;
use jiff::Timestamp;

use super::entries;
use crate::issue::issuance::Issuance;
use crate::issue::{Linted, PrepareError};
use crate::refused_writes::RefusedWrites;

/// Folder of the log within the data directory.
pub(crate) const FOLDER: &str = "log";
/// The key that signs checkpoints, within the data directory: it is no CA key.
const CHECKPOINT_KEY: &str = "log.key";

/// No `voided` entry is longer: a time and an index.
const VOIDED_BYTES: usize = 64;

/// The log of this control plane.
#[derive(Debug)]
pub struct Log {
    id: u32,
    entries: Arc<tlog::Log>,
    refused: RefusedWrites,
    found: Found,
}

/// A coordinate that nothing else will ever have. Consumed by the certificate that bears it.
#[derive(Debug)]
pub struct Slot {
    serial: Serial,
}

impl Slot {
    /// The serial of the certificate at this coordinate.
    pub(crate) fn into_serial(self) -> Serial {
        self.serial
    }
}

/// A to-be-signed certificate that is durable in the log. Only [`Log`] makes one.
#[derive(Debug)]
pub struct Logged {
    issuance: Box<Issuance>,
}

impl Logged {
    /// What the log holds.
    pub(crate) fn issuance(&self) -> &Issuance {
        &self.issuance
    }

    /// What was just read back from the log.
    pub(crate) fn read(issuance: Issuance) -> Self {
        Self {
            issuance: Box::new(issuance),
        }
    }

    /// What the log holds, given up.
    pub(crate) fn into_issuance(self) -> Box<Issuance> {
        self.issuance
    }
}

/// An entry that was read back.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) index: u64,
    pub(crate) at: Timestamp,
    /// `None` for a kind that a newer version wrote.
    pub(crate) what: Option<What>,
}

impl Log {
    /// Opens the log in the data directory, or makes it.
    pub(crate) fn open(
        id: u32,
        trust_domain: &TrustDomain,
        data_dir: &Path,
    ) -> Result<Self, LogError> {
        let options = options(id, trust_domain, data_dir);
        Ok(Self {
            id,
            entries: Arc::new(tlog::Log::open(&options)?),
            refused: RefusedWrites::default(),
            found: Found::default(),
        })
    }

    /// Opens the copy of a log under an id and a key of its own. What the log before it had signed
    /// is moved to `kept`.
    pub(crate) fn succeed(
        id: u32,
        trust_domain: &TrustDomain,
        data_dir: &Path,
        kept: &Path,
    ) -> Result<Self, LogError> {
        tlog::succeed(&options(id, trust_domain, data_dir), kept)?;
        Self::open(id, trust_domain, data_dir)
    }

    /// Prepares a certificate for the next coordinate and makes it durable there: only then may it
    /// be signed. `prepare` must be short, for it runs while the coordinate is held.
    ///
    /// # Errors
    /// It was not prepared, or is not in the log.
    pub async fn append(
        &self,
        prepare: impl FnOnce(Slot) -> Result<Linted, PrepareError>,
    ) -> Result<Logged, AppendError<PrepareError>> {
        let mut prepared = None;
        let make = |index| {
            let linted = prepare(self.slot(index)?)?;
            let issuance = linted.into_issuance();
            let entry = entries::encode(issuance.issued_at, entries::issued(&issuance));
            prepared = Some(issuance);
            Ok(entry)
        };
        let appended = self.entries.append(make).await;
        self.remember(&appended);
        appended?;
        let issuance = prepared.expect("an appended entry was made");
        Ok(Logged { issuance })
    }

    /// Makes any other entry durable and says at which index.
    pub(crate) async fn note(&self, at: Timestamp, what: What) -> Result<u64, LogError> {
        let make = |_| Ok::<_, std::convert::Infallible>(entries::encode(at, what));
        let appended = self.entries.append(make).await;
        self.remember(&appended);
        match appended {
            Ok(index) => Ok(index),
            Err(AppendError::Log(error)) => Err(error),
            Err(AppendError::Made(never)) => match never {},
        }
    }

    /// Whether entries are taken.
    pub(crate) fn refused(&self) -> &RefusedWrites {
        &self.refused
    }

    fn remember<E>(&self, appended: &Result<u64, AppendError<E>>) {
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
    pub(crate) fn holds(&self, serial: &Serial) -> Result<bool, LogError> {
        self.found.or_look(serial, || {
            let logged = self.read_back(serial.index())?;
            Ok(logged.is_some_and(|logged| logged.issuance().serial == *serial))
        })
    }

    /// An entry that was read back from the log is durable by nature. `None` where it was pruned
    /// or is no certificate.
    pub(crate) fn read_back(&self, index: u64) -> Result<Option<Logged>, LogError> {
        let Some(bytes) = self.entries.entry(index)? else {
            return Ok(None);
        };
        let noted = noted(index, &bytes)?;
        let Some(What::Issued(issued)) = noted.what else {
            return Ok(None);
        };
        let issuance = entries::issuance(noted.at, issued).map_err(|_| damaged(index))?;
        Ok(Some(Logged::read(issuance)))
    }

    /// When an entry was made; `None` where it was pruned.
    pub(crate) fn made_at(&self, index: u64) -> Result<Option<Timestamp>, LogError> {
        let bytes = self.entries.entry(index)?;
        let made = bytes.map(|bytes| noted(index, &bytes).map(|noted| noted.at));
        made.transpose()
    }

    /// Every retained entry from an index on.
    pub(crate) fn scan(&self, from: u64) -> impl Iterator<Item = Result<Noted, LogError>> + use<> {
        let entries = self.entries.scan(from);
        entries.map(|entry| entry.and_then(|(index, bytes)| noted(index, &bytes)))
    }

    /// The indexes that retained entries from an index on void. Longer entries are not decoded.
    pub(crate) fn voided(&self, from: u64) -> Result<BTreeSet<u64>, LogError> {
        let mut voided = BTreeSet::new();
        for entry in self.entries.scan(from) {
            let (index, bytes) = entry?;
            if bytes.len() > VOIDED_BYTES {
                continue;
            }
            if let Some(What::Voided(it)) = noted(index, &bytes)?.what {
                voided.insert(it.index);
            }
        }
        Ok(voided)
    }

    /// Keeps the signature of a certificate beside its entry. One that power takes away is made
    /// again from the entry.
    pub(crate) fn keep_signature(&self, index: u64, signature: &[u8]) -> Result<(), LogError> {
        self.entries.attach(index, signature)
    }

    /// The signature beside an entry.
    pub(crate) fn signature(&self, index: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.entries.attachment(index)
    }

    /// Which log this is: the first part of its serials.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// How many entries are durable.
    pub(crate) fn size(&self) -> u64 {
        self.entries.size()
    }

    /// The log as bytes: for checkpoints and retention, which block on the disk.
    pub(crate) fn bytes(&self) -> &Arc<tlog::Log> {
        &self.entries
    }

    fn slot(&self, index: u64) -> Result<Slot, PrepareError> {
        let mut random = [0; 8];
        rand::fill(&mut random).map_err(|_| PrepareError::NoRandom)?;
        let serial = Serial::new(self.id, index, random).map_err(|_| PrepareError::LogFull)?;
        Ok(Slot { serial })
    }
}

fn options(id: u32, trust_domain: &TrustDomain, data_dir: &Path) -> tlog::Options {
    tlog::Options {
        dir: data_dir.join(FOLDER),
        key: data_dir.join(CHECKPOINT_KEY),
        origin: format!("{}/countersign/log/{id:06x}", trust_domain.as_str()),
    }
}

fn noted(index: u64, bytes: &[u8]) -> Result<Noted, LogError> {
    let (at, what) = entries::decode(bytes).map_err(|_| damaged(index))?;
    Ok(Noted { index, at, what })
}

fn damaged(index: u64) -> LogError {
    LogError::Damaged(format!("entry {index} does not read"))
}
