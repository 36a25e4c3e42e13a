//! The authority key identifier names the issuer's key, and nothing but it: issuer and serial would
//! tie a leaf to one certificate of a key that may get another (RFC 5280 section 4.2.1.1).

use super::reading::Reading;
use super::{Candidate, Of, Rule};
use crate::key::KeyId;

pub(super) const RULE: Rule = Rule {
    name: "authority_key_identifier",
    section: "RFC 5280 section 4.2.1.1",
    problem: "the authority key identifier is not that of the issuer",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let mut wanted = KeyId::default();
    let known = hex::decode_to_slice(&candidate.issuer.key_identifier, &mut wanted).is_ok();
    let identifier = reading.authority_key_identifier();
    known && identifier.is_some_and(|identifier| identifier.0 == wanted)
}
