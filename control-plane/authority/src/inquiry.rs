//! Questions about one certificate, answered from the log.

use countersign_ca::log::Logged;
use countersign_inventory::{Certificate, Lineage, LineageId};
use countersign_issue::issuance::Issuance;
use countersign_model::{Coordinate, SerialPrefix};
use countersign_refusal::Denied;

use super::{Authority, AuthorityError};

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
    /// Not a certificate of this log, or one whose entry was pruned; several that begin so, or too many
    /// that may; the disk.
    pub fn certificate(
        &self,
        serial: &SerialPrefix,
        history: usize,
    ) -> Result<Shown, AuthorityError> {
        let logged = self.entry_of(serial)?;
        let serial = &logged.issuance().serial.clone();
        let before = self.history(logged.issuance(), history.min(MAX_HISTORY))?;
        let id = lineage_of(logged.issuance());
        let voided = self.is_void(serial.coordinate());
        let (certificate, der) = self.seen(logged)?;
        Ok(Shown {
            lineage: self.ledger.lineage(&id),
            certificate,
            der: der.filter(|_| !voided),
            voided,
            history: before,
        })
    }

    fn entry_of(&self, serial: &SerialPrefix) -> Result<Logged, AuthorityError> {
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
        Ok(found.ok_or_else(|| unknown(serial))?)
    }

    fn history(
        &self,
        issuance: &Issuance,
        most: usize,
    ) -> Result<Vec<Certificate>, AuthorityError> {
        let mut history = Vec::new();
        let mut before = issuance.renews;
        while let Some(entry) = before.filter(|_| history.len() < most) {
            let Some(logged) = self.ledger.log().read_back(entry.index())? else {
                break;
            };
            // An entry names an earlier one, so the walk ends.
            let is_earlier = |it: &Coordinate| it.index() < entry.index();
            before = logged.issuance().renews.filter(is_earlier);
            history.push(self.seen(logged)?.0);
        }
        Ok(history)
    }

    fn seen(&self, logged: Logged) -> Result<(Certificate, Option<Vec<u8>>), AuthorityError> {
        let issuer = logged.issuance().issuer.as_str().into();
        Ok(match self.ledger.log().signed_before(logged)? {
            Ok(signed) => {
                let sha256 = Some(signed.sha256());
                let certificate = Certificate::of(signed.issuance(), sha256, issuer);
                (certificate, Some(signed.certificate().to_vec()))
            }
            Err(logged) => (Certificate::of(logged.issuance(), None, issuer), None),
        })
    }
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
