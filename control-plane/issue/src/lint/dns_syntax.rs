//! DNS SANs are host names: labels of letters, digits and inner hyphens, no wildcard, no address
//! (RFC 1123 section 2.1; RFC 1035 section 2.3.4; RFC 5280 section 4.2.1.6).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "dns_syntax",
    section: "RFC 1123 section 2.1",
    problem: "a DNS SAN is no host name",
    of: Of::All,
    holds,
};

const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    reading.dns().all(is_host)
}

fn is_host(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= MAX_NAME_BYTES && name.split('.').all(is_label) && !is_number
}

fn is_label(label: &str) -> bool {
    let mut bytes = label.bytes();
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
