//! Version 3: extensions exist in no other (RFC 5280 section 4.1.2.1).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "version",
    section: "RFC 5280 section 4.1.2.1",
    problem: "the version is not 3",
    of: Of::All,
    holds,
};

/// `[0] EXPLICIT INTEGER 2`, which means version 3.
const V3: &[u8] = &[0xa0, 0x03, 0x02, 0x01, 0x02];

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    reading.fields.version == V3
}
