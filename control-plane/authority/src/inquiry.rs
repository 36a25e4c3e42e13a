//! Questions about one certificate, answered from the log.

use countersign_ca::log::Logged;
use countersign_inventory::{Certificate, Lineage, LineageId};
use countersign_issue::issuance::Issuance;
use countersign_model::Serial;
use countersign_refusal::Denied;

use super::{Authority, AuthorityError};

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
    /// Finds a certificate by its serial, which says where in the log it is.
    ///
    /// # Errors
    /// Not a certificate of this log, or one whose entry was pruned; the disk.
    pub fn certificate(&self, serial: &Serial, history: usize) -> Result<Shown, AuthorityError> {
        let logged = self.entry_of(serial)?.ok_or_else(|| unknown(serial))?;
        let before = self.history(logged.issuance(), history.min(MAX_HISTORY))?;
        let id = lineage_of(logged.issuance());
        let voided = self.is_void(serial.index());
        let (certificate, der) = self.seen(logged)?;
        Ok(Shown {
            lineage: self.ledger.lineage(&id),
            certificate,
            der: der.filter(|_| !voided),
            voided,
            history: before,
        })
    }

    fn entry_of(&self, serial: &Serial) -> Result<Option<Logged>, AuthorityError> {
        // Not by the log's id: after a restore it begins with entries of another log.
        let logged = self.ledger.log().read_back(serial.index())?;
        Ok(logged.filter(|logged| logged.issuance().serial == *serial))
    }

    fn history(
        &self,
        issuance: &Issuance,
        most: usize,
    ) -> Result<Vec<Certificate>, AuthorityError> {
        let mut history = Vec::new();
        let mut before = issuance.renews;
        while let Some(index) = before.filter(|_| history.len() < most) {
            let Some(logged) = self.ledger.log().read_back(index)? else {
                break;
            };
            // An entry names an earlier one, so the walk ends.
            before = logged.issuance().renews.filter(|earlier| *earlier < index);
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

fn unknown(serial: &Serial) -> Denied {
    Denied {
        code: "not_found",
        message: format!("no certificate {serial} is in the issuance log"),
        remedy: "see `countersign certs list`; entries older than the log keeps are gone",
    }
}
