//! The issuer's name is its subject, byte for byte: verifiers compare bytes (RFC 5280 sections 4.1.2.4
//! and 7.1).

use super::reading::Reading;
use super::subject_name::encoded_name;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "issuer_name",
    section: "RFC 5280 section 4.1.2.4",
    problem: "the issuer name is not the subject of the issuer",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    reading.fields.issuer == encoded_name(Some(&candidate.issuer.common_name))
}
