//! Issuance up to the log: what a certificate will say, and whether it may say so.
//!
//! `Authorized → Linted → Logged → Signed → Published`: each step consumes the proof of the last,
//! and only the step itself can make its proof. [`profile`] says what a kind of certificate looks
//! like, [`template`] builds the to-be-signed bytes against a key that signs nothing, [`lint`]
//! reads those bytes back and applies every rule. No CA key is in reach of this module.

pub(crate) mod lint;
pub(crate) mod profile;
pub(crate) mod template;

use countersign_model::Lifetime;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tracing::error;

use crate::ca::log::Slot;
use crate::store::{IssuanceRow, Seq};
use lint::Finding;
use profile::{Issuer, Profile, Subject};

/// Why a certificate will not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    /// The key or the request breaks a rule: the caller's fault.
    #[error(transparent)]
    Refused(#[from] Finding),
    /// The issuer cannot give a lifetime any more.
    #[error("the issuing CA has expired")]
    IssuerExpired,
    /// The template could not be built: a bug, or a value that no rule foresaw.
    #[error("the certificate cannot be built: {0}")]
    Template(#[from] rcgen::Error),
}

/// A to-be-signed certificate that passed every rule of its profile. Only [`prepare`] makes one.
#[derive(Debug)]
pub(crate) struct Linted {
    row: IssuanceRow,
}

impl Linted {
    /// The log entry that makes it durable.
    pub(crate) fn into_row(self) -> IssuanceRow {
        self.row
    }
}

/// Builds and checks the certificate for a subject and its key. No CA key is touched.
pub(crate) fn prepare(
    subject: &Subject,
    spki: &[u8],
    slot: Slot,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<Linted, PrepareError> {
    let serial = slot.into_serial();
    let lifetime = lifetime(subject, issuer, now)?;
    let key = lint::key::parse(spki)?;
    let tbs = template::build(subject, &key, serial, issuer, &lifetime)?;
    let candidate = lint::Candidate {
        subject,
        spki,
        issuer,
        lifetime: &lifetime,
        serial,
    };
    lint::check(&tbs, &candidate).inspect_err(|finding| {
        error!(rule = finding.rule, error = %finding, "a certificate was refused by lint");
    })?;
    let row = IssuanceRow {
        index: serial.index(),
        seq: Seq::default(),
        serial,
        profile: subject.profile.as_str().to_owned(),
        spiffe_id: subject.id.to_string(),
        node: subject.holder_node.clone(),
        entitlement: subject.entitlement.clone(),
        spki_sha256: Sha256::digest(spki).into(),
        issuer: issuer.key_id.clone(),
        issued_at: lifetime.issued_at,
        not_after: lifetime.not_after,
        tbs,
        certificate: None,
    };
    Ok(Linted { row })
}

/// From now on for the time that the subject may have, and never beyond the issuer.
fn lifetime(subject: &Subject, issuer: &Issuer, now: Timestamp) -> Result<Lifetime, PrepareError> {
    let wanted = now.checked_add(subject.ttl).unwrap_or(issuer.not_after);
    let not_after = whole_second(wanted.min(issuer.not_after));
    if not_after <= now {
        return Err(PrepareError::IssuerExpired);
    }
    Ok(Lifetime {
        issued_at: now,
        not_after,
    })
}

/// When a certificate begins to be valid: backdated, but not before its issuer.
pub(crate) fn not_before(profile: Profile, issued_at: Timestamp, issuer: &Issuer) -> Timestamp {
    let backdated = issued_at.checked_sub(profile.backdate());
    whole_second(backdated.unwrap_or(issued_at).max(issuer.not_before))
}

/// Certificates speak in whole seconds.
pub(crate) fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).expect("a time within range")
}

#[cfg(test)]
mod tests;
