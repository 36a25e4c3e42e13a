//! The life from issue to NotAfter lies within the bounds of the profile: not so short that it
//! cannot be renewed in time, nor so long that a stolen key is of use for days.

use std::time::Duration;

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "ttl",
    section: "svid.min_ttl, svid.max_ttl",
    problem: "the lifetime is outside the bounds of its profile",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let end = reading.tbs.validity().not_after.timestamp();
    // Times in certificates are whole seconds: the fraction of the time of issue is lost.
    let secs = end - candidate.lifetime.issued_at.as_second();
    let times = candidate.subject.times;
    u64::try_from(secs).is_ok_and(|secs| times.allow(Duration::from_secs(secs)).is_ok())
}
