//! No name beyond the registration's: its DNS names and nothing else, an empty subject for leaves
//! and then a critical SAN (RFC 5280 section 4.1.2.6).

use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::GeneralName;

use super::{Candidate, Finding, require};

pub(super) fn check(tbs: &TbsCertificate<'_>, candidate: &Candidate<'_>) -> Result<(), Finding> {
    let san = tbs.subject_alternative_name().ok().flatten();
    let names = san.iter().flat_map(|san| &san.value.general_names);
    let mut dns = Vec::new();
    for name in names {
        match name {
            GeneralName::DNSName(name) => dns.push(*name),
            GeneralName::URI(_) => {}
            _ => {
                return require(
                    false,
                    "names",
                    "a SAN of an unknown kind",
                    "RFC 5280 4.2.1.6",
                );
            }
        }
    }
    require(
        dns == candidate.subject.dns,
        "names",
        "the DNS names are not those of the registration",
        "RFC 5280 section 4.2.1.6",
    )?;
    let subject_is_empty = tbs.subject().iter().next().is_none();
    require(
        subject_is_empty != candidate.subject.profile.is_ca()
            && san.is_some_and(|san| san.critical == subject_is_empty),
        "subject",
        "a leaf has an empty subject and a critical SAN, a CA a subject",
        "RFC 5280 section 4.1.2.6",
    )
}
