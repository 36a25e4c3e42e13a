//! Basic constraints are present and critical; path lengths are fixed (X509-SVID.md section 4.1).

use x509_parser::certificate::TbsCertificate;

use super::{Candidate, Finding, require};

pub(super) fn check(tbs: &TbsCertificate<'_>, candidate: &Candidate<'_>) -> Result<(), Finding> {
    let constraints = tbs.basic_constraints().ok().flatten();
    let length = candidate.subject.profile.path_length().map(u32::from);
    let holds = constraints.is_some_and(|constraints| {
        constraints.critical
            && constraints.value.ca == candidate.subject.profile.is_ca()
            && constraints.value.path_len_constraint == length
    });
    require(
        holds,
        "basic_constraints",
        "basic constraints are missing, not critical or not those of the profile",
        "X509-SVID.md section 4.1",
    )
}
