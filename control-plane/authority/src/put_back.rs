//! A state that was put back from a copy, beside the log that it was copied with: it has forgotten
//! what it issued since, and would give the same coordinates away once more.
//!
//! Nothing on the disk tells. What tells is a certificate that a caller shows: this control plane
//! signed it, and its serial names an entry of this log that is missing or is another. The word of a
//! caller is no proof, the signature is.

use countersign_model::Serial;
use countersign_refusal::Unavailable;
use countersign_verify::{BundleSet, verify_svid};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::{Authority, AuthorityError};

/// Most certificates of a chain that is shown: what a leaf is presented with, and one to spare.
const MAX_SHOWN: usize = 4;

impl Authority {
    /// Whether a certificate that a handshake has verified is of this log, and not in it. Reads the
    /// disk, once for each certificate that is in it.
    pub fn is_contradicted(&self, serial: &[u8]) -> bool {
        let Ok(serial) = Serial::from_bytes(serial) else {
            return false;
        };
        let is_contradicted = serial.log_id() == self.ledger.log().id() && self.is_missing(&serial);
        if is_contradicted {
            self.proved_put_back(serial);
        }
        is_contradicted
    }

    /// The same for a chain that a node shows, which is verified first.
    pub fn is_contradicted_by(&self, chain: &[Vec<u8>], now: Timestamp) -> bool {
        let Some((bundle, _)) = self.first_bundle().filter(|_| chain.len() <= MAX_SHOWN) else {
            return false;
        };
        let bundles: BundleSet = [bundle].into_iter().collect();
        let chain: Vec<_> = { chain.iter() }
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let verified = verify_svid(&chain, &bundles, &[], now);
        verified.is_ok_and(|svid| self.is_contradicted(&svid.serial))
    }

    /// Whether the log is without the certificate of this serial, for certain: what was pruned, and
    /// a disk that does not read, prove nothing.
    pub(super) fn is_missing(&self, serial: &Serial) -> bool {
        if serial.index() < self.ledger.log().bytes().first_retained() {
            return false;
        }
        self.ledger
            .log()
            .holds(serial)
            .is_ok_and(|is_there| !is_there)
    }

    /// Before a certificate is issued.
    ///
    /// # Errors
    /// A caller has proved that the state was put back from a copy.
    pub(super) fn check_not_put_back(&self) -> Result<(), AuthorityError> {
        match self.put_back() {
            None => Ok(()),
            Some(reason) => Err(Unavailable::retry(reason).into()),
        }
    }

    /// What has proved it, for people.
    pub(super) fn put_back(&self) -> Option<String> {
        self.state.read().doubts.proof().as_ref().map(told)
    }
}

pub(super) fn told(serial: &Serial) -> String {
    format!(
        "data_dir was put back from a copy: a caller has certificate {serial}, which this control \
         plane issued and which is not in its issuance log. Nothing is issued. Make a backup of it as \
         it is (countersign backup), stop it, and start what countersign restore makes of that: it \
         begins a new epoch"
    )
}
