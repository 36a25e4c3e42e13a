//! Questions about one certificate, answered from the log that has it: our own, or that of another control plane,
//! which the database has.

use countersign_ca::log::{Logged, Said};
use countersign_ca::sign::Signed;
use countersign_inventory::{Certificate, Lineage, LineageId};
use countersign_issue::issuance::Issuance;
use countersign_model::{Coordinate, Seq, SerialPrefix};
use countersign_refusal::Denied;
use countersign_store::LogEntry;

use super::{Authority, AuthorityError, following};

/// Most entries that are looked at for one that begins as it is asked for: a bundle of the log.
const MAX_CANDIDATES: u64 = 256;
/// Most certificates of a history.
pub(crate) const MAX_HISTORY: usize = 1_000;

/// One certificate, the lineage that it is of, and those before it.
#[derive(Debug)]
pub struct Shown {
    pub lineage: Option<Lineage>,
    pub certificate: Certificate,
    /// DER; `None` where the signature was lost, or it is void.
    pub der: Option<Vec<u8>>,
    /// Nobody was given it. Remembered while it would be valid.
    pub voided: bool,
    /// Newest first.
    pub history: Vec<Certificate>,
}

impl Authority {
    /// Finds a certificate by its serial, or by how it begins: that says where in the log it is.
    ///
    /// # Errors
    /// Not a certificate of a log of ours, or one whose entry was pruned; several that begin so, or too many
    /// that may; the disk.
    pub async fn certificate(
        &self,
        serial: &SerialPrefix,
        history: usize,
    ) -> Result<Shown, AuthorityError> {
        let found = match self.entry_of(serial)? {
            Some(logged) => Found::Here(logged),
            None => {
                let elsewhere = self.entry_elsewhere(serial).await?;
                elsewhere.ok_or_else(|| unknown(serial))?
            }
        };
        let issuance = found.logged().issuance().clone();
        let before = self.history(&issuance, history.min(MAX_HISTORY)).await?;
        let voided = self.is_void(issuance.serial.coordinate());
        let (certificate, der) = self.seen(found)?;
        Ok(Shown {
            lineage: self.ledger.lineage(&lineage_of(&issuance)),
            certificate,
            der: der.filter(|_| !voided),
            voided,
            history: before,
        })
    }

    /// In our own log.
    fn entry_of(&self, serial: &SerialPrefix) -> Result<Option<Logged>, AuthorityError> {
        let (first, last) = serial.indexes().into_inner();
        // Not by the log's id: after a restore it begins with entries of another log.
        let last = last.min(self.ledger.log().size().saturating_sub(1));
        if last.saturating_sub(first) >= MAX_CANDIDATES {
            return Err(too_short(serial).into());
        }
        let mut found = None;
        for index in first..=last {
            let logged = self.ledger.log().read_back(index)?;
            let logged = logged.filter(|it| serial.begins(&it.issuance().serial));
            if found.is_some() && logged.is_some() {
                return Err(too_short(serial).into());
            }
            found = found.or(logged);
        }
        Ok(found)
    }

    /// In the log of another control plane, which the database has: of a whole serial the one entry that it
    /// names is read.
    async fn entry_elsewhere(
        &self,
        serial: &SerialPrefix,
    ) -> Result<Option<Found>, AuthorityError> {
        let (log_id, (first, last)) = (serial.log_id(), serial.indexes().into_inner());
        if !self.is_log_of_another(log_id) {
            return Ok(None);
        }
        let is_it = |found: &Found| serial.begins(&found.logged().issuance().serial);
        if first == last {
            let found = self.found_elsewhere(log_id, first).await?;
            return Ok(found.filter(is_it));
        }
        let size = self.store.log_size(log_id).await?;
        let last = last.min(size.saturating_sub(1));
        if last.saturating_sub(first) >= MAX_CANDIDATES {
            return Err(too_short(serial).into());
        }
        match self.index_elsewhere(serial, (first, last)).await? {
            Some(index) => self.found_elsewhere(log_id, index).await,
            None => Ok(None),
        }
    }

    /// The index of the one certificate of another log that begins as it is asked for.
    async fn index_elsewhere(
        &self,
        serial: &SerialPrefix,
        (first, last): (u64, u64),
    ) -> Result<Option<u64>, AuthorityError> {
        let (mut found, mut next) = (None, first);
        while next <= last {
            let page = self.store.log_entries(serial.log_id(), next).await?;
            let Some((newest, _)) = page.last() else {
                break;
            };
            next = newest.index + 1;
            let candidates = page.into_iter().filter(|(entry, _)| entry.index <= last);
            for (entry, seq) in candidates {
                let logged = issued(seq, &entry)?;
                if !logged.is_some_and(|it| serial.begins(&it.issuance().serial)) {
                    continue;
                }
                if found.replace(entry.index).is_some() {
                    return Err(too_short(serial).into());
                }
            }
        }
        Ok(found)
    }

    fn is_log_of_another(&self, log_id: u32) -> bool {
        let is_own = self.ledger.log().id() == log_id;
        !is_own && self.state.read().replicas.has_log(log_id)
    }

    async fn history(
        &self,
        issuance: &Issuance,
        most: usize,
    ) -> Result<Vec<Certificate>, AuthorityError> {
        let mut history = Vec::new();
        let mut before = issuance.renews;
        while let Some(entry) = before.filter(|_| history.len() < most) {
            let found = match self.is_log_of_another(entry.log_id()) {
                false => self.ledger.log().read_back(entry.index())?.map(Found::Here),
                true => self.found_elsewhere(entry.log_id(), entry.index()).await?,
            };
            let Some(found) = found else { break };
            // An entry of one log names an earlier one, so a walk there ends; of several it is bounded.
            let is_earlier =
                |it: &Coordinate| it.log_id() != entry.log_id() || it.index() < entry.index();
            before = found.logged().issuance().renews.filter(is_earlier);
            history.push(self.seen(found)?.0);
        }
        Ok(history)
    }

    /// A certificate of another log, with its signature as far as that was brought to the database.
    async fn found_elsewhere(
        &self,
        log_id: u32,
        index: u64,
    ) -> Result<Option<Found>, AuthorityError> {
        let Some((seq, entry, signature)) = self.store.log_entry(log_id, index).await? else {
            return Ok(None);
        };
        let logged = issued(seq, &entry)?;
        Ok(logged.map(|logged| Found::There(logged, signature)))
    }

    fn seen(&self, found: Found) -> Result<(Certificate, Option<Vec<u8>>), AuthorityError> {
        let issuer = found.logged().issuance().issuer.as_str().into();
        let signed = match found {
            Found::Here(logged) => self.ledger.log().signed_before(logged)?,
            Found::There(logged, Some(bytes)) => Ok(Signed::from_kept(logged, bytes)),
            Found::There(logged, None) => Err(logged),
        };
        Ok(match signed {
            Ok(signed) => {
                let sha256 = Some(signed.sha256());
                let certificate = Certificate::of(signed.issuance(), sha256, issuer);
                (certificate, Some(signed.certificate().to_vec()))
            }
            Err(logged) => (Certificate::of(logged.issuance(), None, issuer), None),
        })
    }
}

/// An entry of a certificate, and where it was found.
enum Found {
    /// In our own log.
    Here(Logged),
    /// In the log of another control plane, with its signature where that was brought to the database.
    There(Logged, Option<Vec<u8>>),
}

impl Found {
    fn logged(&self) -> &Logged {
        match self {
            Self::Here(logged) | Self::There(logged, _) => logged,
        }
    }
}

/// An entry of another log, where it is one of a certificate.
fn issued(seq: Seq, entry: &LogEntry) -> Result<Option<Logged>, AuthorityError> {
    let Some(noted) = following::read(entry)? else {
        return Ok(None);
    };
    Ok(match noted.placed(seq.0).said()? {
        Said::Issued(logged) => Some(logged),
        Said::Other(_) | Said::Unknown => None,
    })
}

fn lineage_of(issuance: &Issuance) -> LineageId {
    LineageId::of(
        issuance.profile,
        &issuance.spiffe_id,
        &issuance.node,
        &issuance.entitlement,
    )
}

fn unknown(serial: &SerialPrefix) -> Denied {
    Denied {
        code: "not_found",
        message: format!("no certificate {serial} is in the issuance log"),
        remedy: "see `countersign certs list`; entries older than the log keeps are gone",
    }
}

fn too_short(serial: &SerialPrefix) -> Denied {
    Denied {
        code: "serial_too_short",
        message: format!("more than one certificate may begin with {serial}"),
        remedy: "give more of its digits: 16 always tell one",
    }
}
