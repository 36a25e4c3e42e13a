//! Rules over the to-be-signed certificate, one a file. They read the bytes that would be signed,
//! with another library than the one that wrote them.

mod basic_constraints;
mod extended_key_usage;
pub(crate) mod key;
mod key_identifiers;
mod key_usage;
mod names;
mod serial;
mod uri_san;
mod validity;

use countersign_model::{Lifetime, Serial};
use x509_parser::certificate::TbsCertificate;
use x509_parser::prelude::FromDer;

use super::profile::{Issuer, Subject};

/// A rule that a certificate breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} ({section})")]
pub(crate) struct Finding {
    /// Stable name of the rule.
    pub(crate) rule: &'static str,
    /// What is wrong.
    pub(crate) problem: &'static str,
    /// Where the standard says so.
    pub(crate) section: &'static str,
}

/// What the certificate was meant to be.
pub(super) struct Candidate<'a> {
    pub(super) subject: &'a Subject,
    pub(super) spki: &'a [u8],
    pub(super) issuer: &'a Issuer,
    pub(super) lifetime: &'a Lifetime,
    pub(super) serial: Serial,
}

type Rule = fn(&TbsCertificate<'_>, &Candidate<'_>) -> Result<(), Finding>;

const RULES: [Rule; 9] = [
    uri_san::check,
    names::check,
    key_usage::check,
    extended_key_usage::check,
    basic_constraints::check,
    validity::check,
    serial::check,
    key::check,
    key_identifiers::check,
];

/// Applies every rule.
pub(super) fn check(tbs: &[u8], candidate: &Candidate<'_>) -> Result<(), Finding> {
    const UNREADABLE: Finding = Finding {
        rule: "der",
        problem: "the certificate is not DER",
        section: "RFC 5280 section 4.1",
    };
    let (rest, parsed) = TbsCertificate::from_der(tbs).map_err(|_| UNREADABLE)?;
    if !rest.is_empty() {
        return Err(UNREADABLE);
    }
    RULES.iter().try_for_each(|rule| rule(&parsed, candidate))
}

/// `Ok` where a rule holds.
fn require(
    holds: bool,
    rule: &'static str,
    problem: &'static str,
    section: &'static str,
) -> Result<(), Finding> {
    let finding = Finding {
        rule,
        problem,
        section,
    };
    if holds { Ok(()) } else { Err(finding) }
}
