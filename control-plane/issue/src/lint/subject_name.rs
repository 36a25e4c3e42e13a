//! A leaf has no subject, so that nobody reads an identity from one; a CA has its unique name
//! (RFC 5280 sections 4.1.2.6 and 4.2.1.6).

use super::reading::Reading;
use super::{Candidate, Of, Rule};
use crate::der::element;

pub(super) const RULE: Rule = Rule {
    name: "subject_name",
    section: "RFC 5280 section 4.1.2.6",
    problem: "the subject is not empty for a leaf, or not the unique name of a CA",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let subject = candidate.subject;
    let wanted = subject.common_name.as_deref();
    wanted.is_some() == subject.profile.is_ca() && reading.fields.subject == encoded_name(wanted)
}

/// A distinguished name with one common name or none, DER (RFC 5280 section 4.1.2.4).
pub(super) fn encoded_name(common_name: Option<&str>) -> Vec<u8> {
    let Some(common_name) = common_name else {
        return element(SEQUENCE, &[]);
    };
    let text = element(UTF8_STRING, common_name.as_bytes());
    let attribute = element(SEQUENCE, &[COMMON_NAME, &text].concat());
    element(SEQUENCE, &element(SET, &attribute))
}

const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// OBJECT IDENTIFIER id-at-commonName.
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
