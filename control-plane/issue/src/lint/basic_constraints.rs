//! Only a CA says that it is one (RFC 5280 section 4.2.1.9; X509-SVID.md section 4.1).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "basic_constraints",
    section: "X509-SVID.md section 4.1",
    problem: "a leaf claims to be a CA, or a CA does not",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let constraints = reading.basic_constraints();
    constraints.is_some_and(|constraints| constraints.ca == candidate.subject.profile.is_ca())
}
