//! Entries that were read back: of the log of this control plane, and of those of the others, which are kept
//! in the database that all share.

use countersign_model::Coordinate;
use countersign_proto::log::entry::What;
use countersign_tlog::LogError;
use jiff::Timestamp;

use super::logged::Logged;
use crate::entries;

/// An entry that was read back: from the log of this control plane by [`Log`](super::Log), or that of another replica
/// by [`Noted::read`].
#[derive(Debug)]
pub struct Noted {
    index: u64,
    place: u64,
    at: Timestamp,
    what: Option<What>,
    is_ours: bool,
}

/// The content of an entry.
#[derive(Debug)]
pub enum Said {
    /// A certificate is to be signed.
    Issued(Logged),
    /// Anything else.
    Other(Box<What>),
    /// A newer version wrote it.
    Unknown,
}

impl Noted {
    /// Reads an entry of the log of this control plane.
    pub(super) fn ours(index: u64, bytes: &[u8]) -> Result<Self, LogError> {
        let (at, what) = entries::decode(bytes).map_err(|_| damaged(index))?;
        Ok(Self {
            index,
            place: 0,
            at,
            what,
            is_ours: true,
        })
    }

    /// For tests of what reads the log.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(index: u64, at: Timestamp, what: Option<What>) -> Self {
        Self {
            index,
            place: 0,
            at,
            what,
            is_ours: true,
        }
    }

    /// Reads an entry of the log of another replica, as it was kept elsewhere: durably, for whoever
    /// calls this vouches. The coordinate is that under which it was made: of a log that goes on as
    /// the copy of another, the entries that it was copied with are those of the other.
    ///
    /// # Errors
    /// It does not read, or its certificate has the serial of another entry.
    pub fn read(at: Coordinate, bytes: &[u8]) -> Result<Self, LogError> {
        let mut noted = Self::ours(at.index(), bytes)?;
        noted.is_ours = false;
        if let Some(What::Issued(issued)) = &noted.what {
            let serial = entries::serial(issued).map_err(|_| damaged(at.index()))?;
            if serial.coordinate() != at {
                let what = format!(
                    "entry {} of log {:06x} has the certificate of another entry, {serial}",
                    at.index(),
                    at.log_id()
                );
                return Err(LogError::Foreign(what));
            }
        }
        Ok(noted)
    }

    /// Says its place in the order of the archive, which its bytes do not. The certificate is ordered
    /// by it.
    #[must_use]
    pub fn placed(self, place: u64) -> Self {
        Self { place, ..self }
    }

    /// Its place in the order of the archive; 0 where nobody said.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// Its place in the log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// When it was made.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Its message; `None` for a kind that a newer version wrote.
    pub fn what(&self) -> Option<&What> {
        self.what.as_ref()
    }

    /// Its content. A certificate that was read back from a log is durable, so it is [`Logged`].
    ///
    /// # Errors
    /// The certificate does not read.
    pub fn said(self) -> Result<Said, LogError> {
        Ok(match self.what {
            Some(What::Issued(issued)) => {
                let issuance = entries::issuance(self.at, issued);
                let issuance = Box::new(issuance.map_err(|_| damaged(self.index))?);
                Said::Issued(Logged::new(issuance, self.place, self.is_ours))
            }
            Some(other) => Said::Other(Box::new(other)),
            None => Said::Unknown,
        })
    }
}

fn damaged(index: u64) -> LogError {
    LogError::Damaged(format!("entry {index} does not read"))
}
