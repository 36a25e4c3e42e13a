//! Rules over the to-be-signed certificate, one a file, each with the section of the standard that
//! it enforces. They read the bytes that would be signed, with another library than the one that
//! wrote them, and know nothing of the template. `docs/lint.md` lists them.
//!
//! A new rule is a file with its `Rule` and a line in `RULES`.

mod authority_key_identifier;
mod backdate;
mod basic_constraints;
mod dns_names;
mod dns_syntax;
mod extended_key_usage;
mod extensions_critical;
mod extensions_expected;
mod extensions_once;
mod issuer_name;
mod key;
mod key_kind;
mod key_usage;
mod path_length;
mod reading;
mod san_kinds;
mod serial;
mod signature_algorithm;
mod size;
mod spiffe_id;
mod subject_key_identifier;
mod subject_name;
mod time_encoding;
mod ttl;
mod unique_ids;
mod uri_san;
mod uri_san_path;
mod validity;
mod validity_issuer;
mod version;

use countersign_model::{Lifetime, Serial};

use super::finding::{Finding, require};
use super::key::PublicKey;
use super::profile::{Issuer, Subject};
use reading::Reading;

/// What the certificate was meant to be.
pub struct Candidate<'a> {
    /// Whom it is for.
    pub subject: &'a Subject,
    /// The key that is certified.
    pub key: &'a PublicKey,
    /// Who will sign it.
    pub issuer: &'a Issuer,
    /// From when to when.
    pub lifetime: &'a Lifetime,
    /// Its place in the log.
    pub serial: Serial,
}

/// One rule.
struct Rule {
    /// Stable.
    name: &'static str,
    section: &'static str,
    /// What is wrong where it does not hold.
    problem: &'static str,
    of: Of,
    holds: fn(&Reading<'_>, &Candidate<'_>) -> bool,
}

/// Whom a rule binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    All,
    Leaves,
}

/// Every rule, those first that name a defect most plainly.
const RULES: [Rule; 29] = [
    size::RULE,
    version::RULE,
    serial::RULE,
    signature_algorithm::RULE,
    issuer_name::RULE,
    time_encoding::RULE,
    validity_issuer::RULE,
    validity::RULE,
    backdate::RULE,
    ttl::RULE,
    subject_name::RULE,
    key::RULE,
    key_kind::RULE,
    unique_ids::RULE,
    extensions_once::RULE,
    extensions_expected::RULE,
    extensions_critical::RULE,
    basic_constraints::RULE,
    path_length::RULE,
    key_usage::RULE,
    extended_key_usage::RULE,
    san_kinds::RULE,
    spiffe_id::RULE,
    uri_san_path::RULE,
    uri_san::RULE,
    dns_syntax::RULE,
    dns_names::RULE,
    subject_key_identifier::RULE,
    authority_key_identifier::RULE,
];

/// Applies every rule.
pub fn check(tbs: &[u8], candidate: &Candidate<'_>) -> Result<(), Finding> {
    let reading = Reading::of(tbs).ok_or(UNREADABLE)?;
    let is_ca = candidate.subject.profile.is_ca();
    let binding = RULES.iter().filter(|rule| match rule.of {
        Of::All => true,
        Of::Leaves => !is_ca,
    });
    for rule in binding {
        require(
            (rule.holds)(&reading, candidate),
            rule.name,
            rule.problem,
            rule.section,
        )?;
    }
    Ok(())
}

/// What no other rule can judge.
const UNREADABLE: Finding = Finding {
    rule: "der",
    problem: "the certificate is not DER of the form that the standard gives",
    section: "RFC 5280 section 4.1",
};

#[cfg(test)]
mod tests;
