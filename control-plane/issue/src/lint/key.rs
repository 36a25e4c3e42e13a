//! The key is the one whose possession was proved, byte for byte (RFC 5280 section 4.1.2.7).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "key",
    section: "RFC 5280 section 4.1.2.7",
    problem: "the certificate holds another key than the proven one",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    reading.fields.key == candidate.key.spki()
}
