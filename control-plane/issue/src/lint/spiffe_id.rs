//! Every URI SAN is a SPIFFE ID: at most 2048 bytes, no empty, `.` or `..` segment, no query
//! (SPIFFE-ID.md section 2).

use countersign_model::SpiffeId;

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "spiffe_id",
    section: "SPIFFE-ID.md section 2",
    problem: "a URI SAN is no SPIFFE ID",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    reading.uris().all(|uri| SpiffeId::new(uri).is_ok())
}
