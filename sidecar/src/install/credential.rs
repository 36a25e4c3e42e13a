//! A chain and the key that waited for it become one credential.

use std::time::Duration;

use countersign_model::{Lifetime, Serial};
use countersign_verify::VerifiedSvid;
use countersign_verify::tls::certified_key;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::InstallError;
use crate::holdings::Svid;
use crate::identity::renew::PendingKey;

/// Joins a verified chain with the key that waited for it. `backdate` is how far before its issue
/// its NotBefore lies, or less: it is never before that of its issuer.
pub(super) fn accept(
    chain: Vec<CertificateDer<'static>>,
    verified: &VerifiedSvid,
    pending: &PendingKey,
    (backdate, now): (Duration, Timestamp),
) -> Result<Svid, InstallError> {
    if Sha256::digest(pending.key.spki())[..] != verified.spki_sha256 {
        return Err(InstallError::UnknownKey);
    }
    certified_key(chain.clone(), pending.key.pkcs8())?;
    // The chain can overtake the answer to its enrolment; NotBefore then tells when it was issued.
    // So it does where the answer contradicts the chain: the renewal must fall into its lifetime.
    let validity = verified.not_before..verified.not_after;
    let issued = pending.issued.map(|issued| issued.issued_at);
    let issued_at = match issued.filter(|at| validity.contains(at)) {
        Some(issued_at) => issued_at,
        // Under a young issuer that sum lies ahead, and it was issued before it arrived.
        None => verified
            .not_before
            .checked_add(backdate)
            .unwrap_or(verified.not_after)
            .min(now)
            .clamp(verified.not_before, verified.not_after),
    };
    Ok(Svid {
        id: verified.id.clone(),
        chain,
        key: pending.key.pkcs8().clone(),
        serial: Serial::from_bytes(&verified.serial)?,
        lifetime: Lifetime {
            issued_at,
            not_after: verified.not_after,
        },
    })
}
