//! Key usage is present and critical, and no leaf may sign certificates (X509-SVID.md section 4.3).

use x509_parser::certificate::TbsCertificate;

use super::{Candidate, Finding, require};

/// Bits of KeyUsage (RFC 5280 section 4.2.1.3), the first bit lowest.
const DIGITAL_SIGNATURE: u16 = 1;
const KEY_CERT_SIGN: u16 = 1 << 5;
const CRL_SIGN: u16 = 1 << 6;

pub(super) fn check(tbs: &TbsCertificate<'_>, candidate: &Candidate<'_>) -> Result<(), Finding> {
    let expected = if candidate.subject.profile.is_ca() {
        KEY_CERT_SIGN | CRL_SIGN
    } else {
        DIGITAL_SIGNATURE
    };
    let usage = tbs.key_usage().ok().flatten();
    require(
        usage.is_some_and(|usage| usage.critical && usage.value.flags == expected),
        "key_usage",
        "key usage is missing, not critical or not that of the profile",
        "X509-SVID.md section 4.3",
    )
}
