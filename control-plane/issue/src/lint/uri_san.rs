//! Exactly one URI SAN, and it is the authorized ID (X509-SVID.md section 2).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "uri_san",
    section: "X509-SVID.md section 2",
    problem: "the certificate does not name exactly the authorized SPIFFE ID",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    reading.uris().eq([candidate.subject.id.as_str()])
}
