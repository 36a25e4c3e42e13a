//! Path lengths are fixed: an issuing CA makes no CA, whoever holds its key
//! (RFC 5280 section 4.2.1.9).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "path_length",
    section: "RFC 5280 section 4.2.1.9",
    problem: "the path length is not that of the profile",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let wanted = candidate.subject.profile.path_length().map(u32::from);
    let constraints = reading.basic_constraints();
    constraints.is_some_and(|constraints| constraints.path_len_constraint == wanted)
}
