//! No unique identifiers: conforming CAs make none (RFC 5280 section 4.1.2.8).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "unique_ids",
    section: "RFC 5280 section 4.1.2.8",
    problem: "the certificate has a unique identifier",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    reading.tbs.issuer_uid.is_none() && reading.tbs.subject_uid.is_none()
}
