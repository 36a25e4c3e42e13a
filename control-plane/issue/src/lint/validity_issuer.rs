//! A child lives within its issuer's life (RFC 5280 section 6.1.3): a chain is valid while all of it is.

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "validity_issuer",
    section: "RFC 5280 section 6.1.3",
    problem: "the certificate would live outside its issuer's life",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let validity = reading.tbs.validity();
    validity.not_before.timestamp() >= candidate.issuer.not_before.as_second()
        && validity.not_after.timestamp() <= candidate.issuer.not_after.as_second()
}
