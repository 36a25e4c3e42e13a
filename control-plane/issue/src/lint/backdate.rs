//! NotBefore lies back no further than the profile says: enough for clocks that are behind, and
//! nothing that looks older than it is (RFC 5280 section 4.1.2.5).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "backdate",
    section: "svid.backdate, ca.backdate",
    problem: "NotBefore lies further back than the profile allows",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let backdate = candidate.subject.times.backdate;
    let earliest = candidate.lifetime.issued_at.checked_sub(backdate);
    let start = reading.tbs.validity().not_before.timestamp();
    earliest.is_ok_and(|earliest| start >= earliest.as_second())
}
