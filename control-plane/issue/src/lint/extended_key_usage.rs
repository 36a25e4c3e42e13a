//! A leaf serves both ends of a connection and nothing else (X509-SVID.md section 4.4).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "extended_key_usage",
    section: "X509-SVID.md section 4.4",
    problem: "a leaf has other extended key usages than serverAuth and clientAuth",
    of: Of::Leaves,
    holds,
};

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    reading.extended_key_usage().is_some_and(|usage| {
        let others = usage.any
            || usage.code_signing
            || usage.email_protection
            || usage.time_stamping
            || usage.ocsp_signing
            || !usage.other.is_empty();
        usage.server_auth && usage.client_auth && !others
    })
}
