//! A certificate is small: a chain of four fits into what our listeners read before they parse.

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "size",
    section: "core/serve: 16 kB a chain",
    problem: "the certificate is larger than any that we issue",
    of: Of::All,
    holds,
};

/// The largest SVID: RSA of 8192 bits, an ID of 2048 bytes and 16 DNS names of 253, with room.
const MAX_BYTES: usize = 8_192;

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    reading.whole.len() <= MAX_BYTES
}
