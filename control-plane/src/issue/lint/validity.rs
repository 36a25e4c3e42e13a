//! A child never outlives its issuer, nor its own ceiling (RFC 5280 section 4.1.2.5).

use x509_parser::certificate::TbsCertificate;

use super::{Candidate, Finding, require};

pub(super) fn check(tbs: &TbsCertificate<'_>, candidate: &Candidate<'_>) -> Result<(), Finding> {
    let start = tbs.validity().not_before.timestamp();
    let end = tbs.validity().not_after.timestamp();
    let issued_at = candidate.lifetime.issued_at;
    let ceiling = issued_at.checked_add(candidate.subject.ttl);
    require(
        start >= candidate.issuer.not_before.as_second()
            && end <= candidate.issuer.not_after.as_second(),
        "validity_issuer",
        "the certificate would live outside its issuer's life",
        "RFC 5280 section 6.1.3",
    )?;
    require(
        start <= issued_at.as_second()
            && end > issued_at.as_second()
            && end == candidate.lifetime.not_after.as_second()
            && ceiling.is_ok_and(|ceiling| end <= ceiling.as_second()),
        "validity",
        "the certificate would live longer than its registration allows",
        "RFC 5280 section 4.1.2.5",
    )
}
