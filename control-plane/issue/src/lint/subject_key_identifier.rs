//! The subject key identifier names the key: the first 160 bits of SHA-256 over the
//! SubjectPublicKeyInfo (RFC 5280 section 4.2.1.2; RFC 7093 section 2, method 1).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "subject_key_identifier",
    section: "RFC 5280 section 4.2.1.2, RFC 7093 section 2",
    problem: "the subject key identifier is not that of the key",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let identifier = reading.subject_key_identifier();
    identifier.is_some_and(|identifier| identifier.0 == candidate.key.id())
}
