//! A leaf serves both ends of a connection; a CA is not limited (X509-SVID.md section 4.4).

use x509_parser::certificate::TbsCertificate;

use super::{Candidate, Finding, require};

pub(super) fn check(tbs: &TbsCertificate<'_>, candidate: &Candidate<'_>) -> Result<(), Finding> {
    let usage = tbs.extended_key_usage().ok().flatten();
    let holds = match usage {
        None => candidate.subject.profile.is_ca(),
        Some(usage) => {
            let usage = usage.value;
            let others = usage.any
                || usage.code_signing
                || usage.email_protection
                || usage.time_stamping
                || usage.ocsp_signing
                || !usage.other.is_empty();
            !candidate.subject.profile.is_ca() && usage.server_auth && usage.client_auth && !others
        }
    };
    require(
        holds,
        "extended_key_usage",
        "a leaf has exactly serverAuth and clientAuth, a CA none",
        "X509-SVID.md section 4.4",
    )
}
