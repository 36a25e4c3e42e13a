//! The signature algorithm inside is the one that will stand outside (RFC 5280 sections 4.1.1.2
//! and 4.1.2.3): a difference would let two readers disagree on what was signed, and how.

use super::reading::Reading;
use super::{Candidate, Of, Rule};
use crate::der::ECDSA_WITH_SHA256;

pub(super) const RULE: Rule = Rule {
    name: "signature_algorithm",
    section: "RFC 5280 sections 4.1.1.2 and 4.1.2.3",
    problem: "the signature algorithm is not that of the issuer",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    reading.fields.signature == ECDSA_WITH_SHA256
}
