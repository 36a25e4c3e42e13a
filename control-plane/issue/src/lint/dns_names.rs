//! The DNS SANs are those of the registration, in its order; a CA has none (RFC 5280 section 4.2.1.6).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "dns_names",
    section: "RFC 5280 section 4.2.1.6",
    problem: "the DNS names are not those of the registration",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let registered = candidate.subject.dns.iter().map(String::as_str);
    reading.dns().eq(registered)
}
