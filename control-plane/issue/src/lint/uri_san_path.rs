//! A leaf has a path in its SPIFFE ID, a CA has none (X509-SVID.md sections 3.1 and 3.2).

use countersign_model::SpiffeId;

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "uri_san_path",
    section: "X509-SVID.md sections 3.1 and 3.2",
    problem: "a leaf needs a path in its SPIFFE ID, and a CA may have none",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let is_ca = candidate.subject.profile.is_ca();
    reading.uris().all(|uri| {
        let id = SpiffeId::new(uri);
        id.is_ok_and(|id| id.path().is_empty() == is_ca)
    })
}
