//! Issuance up to the log: what a certificate will say, and whether it may say so.
//!
//! `Authorized → Linted → Logged → Signed → Published`: each step consumes the proof of the last,
//! and only the step itself can make its proof. [`profile`] says what a kind of certificate looks
//! like, [`template`] builds the to-be-signed bytes against a key that signs nothing, [`lint`]
//! reads those bytes back and applies every rule, and [`key`] refuses weak keys. No CA key is in
//! reach of this module.

pub mod der;
mod finding;
pub mod issuance;
pub mod key;
pub mod lint;
pub mod profile;
pub mod request;
pub mod template;

use countersign_model::{Lifetime, Serial, whole_second};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;

pub use finding::Finding;
use issuance::Issuance;
use key::PublicKey;
use profile::{Issuer, Subject};

/// Why a certificate will not be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The key or the request breaks a rule: the caller's fault.
    #[error(transparent)]
    Refused(#[from] Finding),
    /// The issuer cannot give the shortest lifetime any more.
    #[error("the issuing CA has expired, or will before the shortest lifetime has passed")]
    IssuerExpired,
    /// The template could not be built: a bug, or a value that no rule foresaw.
    #[error("the certificate cannot be built: {0}")]
    Template(#[from] rcgen::Error),
}

/// A to-be-signed certificate that passed every rule of its profile. Only [`prepare`] makes one.
#[derive(Debug)]
pub struct Linted {
    issuance: Box<Issuance>,
}

impl Linted {
    /// What goes into the log.
    pub fn into_issuance(self) -> Box<Issuance> {
        self.issuance
    }
}

/// Builds and checks the certificate for a subject and its key. No CA key is touched.
///
/// # Errors
/// The rule that refuses it; or the issuer has no time left.
pub fn prepare(
    subject: Subject,
    key: &PublicKey,
    serial: Serial,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<Linted, PrepareError> {
    let lifetime = lifetime(&subject, issuer, now)?;
    permitted(&subject, key)?;
    let tbs = template::build(&subject, key, serial, issuer, &lifetime)?;
    let candidate = lint::Candidate {
        subject: &subject,
        key,
        issuer,
        lifetime: &lifetime,
        serial,
    };
    lint::check(&tbs, &candidate).inspect_err(|finding| {
        let (lint, rule) = (Principal::part("lint"), finding.rule);
        peer_line!(ERROR, lint, rule, error = %finding, "a certificate was refused by lint");
    })?;
    let issuance = Box::new(Issuance {
        serial,
        profile: subject.profile,
        spiffe_id: subject.id.to_string(),
        node: subject.holder_node,
        entitlement: subject.entitlement,
        spki_sha256: *key.sha256(),
        issuer: issuer.key_id.clone(),
        issued_at: lifetime.issued_at,
        not_after: lifetime.not_after,
        tbs,
        account: subject.account,
        renews: subject.renews,
        key_epoch: subject.key_epoch,
        attested: subject.attested,
        order: serial.index(),
    });
    Ok(Linted { issuance })
}

/// A key that the subject may use.
fn permitted(subject: &Subject, key: &PublicKey) -> Result<(), Finding> {
    match &subject.refused_keys {
        Some(refused) => refused.check(key),
        None => Ok(()),
    }
}

/// From now on for the time that the subject may have, and never beyond the issuer.
fn lifetime(subject: &Subject, issuer: &Issuer, now: Timestamp) -> Result<Lifetime, PrepareError> {
    subject.times.allow(subject.ttl)?;
    let wanted = now.checked_add(subject.ttl).unwrap_or(issuer.not_after);
    let not_after = whole_second(wanted.min(issuer.not_after));
    let shortest = whole_second(now).checked_add(subject.times.min_ttl);
    if shortest.is_ok_and(|shortest| shortest <= not_after) {
        let issued_at = now;
        return Ok(Lifetime {
            issued_at,
            not_after,
        });
    }
    Err(PrepareError::IssuerExpired)
}

/// When a certificate begins to be valid: backdated, but not before its issuer.
pub fn not_before(subject: &Subject, issued_at: Timestamp, issuer: &Issuer) -> Timestamp {
    let backdated = issued_at.checked_sub(subject.times.backdate);
    whole_second(backdated.unwrap_or(issued_at).max(issuer.not_before))
}

#[cfg(test)]
mod tests;
