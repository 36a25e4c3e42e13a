//! The key is of a kind that the profile is made for (RFC 5480, RFC 3279).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "key_kind",
    section: "RFC 5480 section 2.1.1, RFC 3279 section 2.3.1",
    problem: "the profile takes no key of this kind",
    of: Of::All,
    holds,
};

fn holds(_: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let accepted = candidate.subject.profile.shape().keys;
    accepted.contains(&candidate.key.kind())
}
