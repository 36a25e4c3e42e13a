//! A leaf signs handshakes and nothing else; a CA signs certificates and CRLs (RFC 5280 section
//! 4.2.1.3; X509-SVID.md section 4.3).

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "key_usage",
    section: "X509-SVID.md section 4.3",
    problem: "the key usage is not that of the profile",
    of: Of::All,
    holds,
};

/// Bits of KeyUsage (RFC 5280 section 4.2.1.3), the first bit lowest.
const DIGITAL_SIGNATURE: u16 = 1;
const KEY_CERT_SIGN: u16 = 1 << 5;
const CRL_SIGN: u16 = 1 << 6;

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let wanted = if candidate.subject.profile.is_ca() {
        KEY_CERT_SIGN | CRL_SIGN
    } else {
        DIGITAL_SIGNATURE
    };
    reading
        .key_usage()
        .is_some_and(|usage| usage.flags == wanted)
}
