//! A certificate is valid from its issue to the end that was granted, and no longer than the
//! registration allows (RFC 5280 section 4.1.2.5).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "validity",
    section: "RFC 5280 section 4.1.2.5",
    problem: "the certificate would live longer than its registration allows",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let start = reading.tbs.validity().not_before.timestamp();
    let end = reading.tbs.validity().not_after.timestamp();
    let issued_at = candidate.lifetime.issued_at;
    let ceiling = issued_at.checked_add(candidate.subject.ttl);
    start <= issued_at.as_second()
        && end > issued_at.as_second()
        && end == candidate.lifetime.not_after.as_second()
        && ceiling.is_ok_and(|ceiling| end <= ceiling.as_second())
}
