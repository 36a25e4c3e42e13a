//! SANs are URIs and DNS names: no other kind is ever authorized (RFC 5280 section 4.2.1.6).

use x509_parser::extensions::GeneralName;

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "san_kinds",
    section: "RFC 5280 section 4.2.1.6",
    problem: "a SAN is neither a URI nor a DNS name",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    let is_known =
        |name: &GeneralName<'_>| matches!(name, GeneralName::URI(_) | GeneralName::DNSName(_));
    reading.names().iter().all(is_known)
}
