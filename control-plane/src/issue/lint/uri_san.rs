//! Exactly one URI SAN, and it is the authorized ID (X509-SVID.md section 2).

use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::GeneralName;

use super::{Candidate, Finding, require};

pub(super) fn check(tbs: &TbsCertificate<'_>, candidate: &Candidate<'_>) -> Result<(), Finding> {
    let names = tbs.subject_alternative_name().ok().flatten();
    let uris: Vec<_> = names
        .iter()
        .flat_map(|san| &san.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let id = &candidate.subject.id;
    require(
        uris == [id.as_str()],
        "uri_san",
        "the certificate does not name exactly the authorized SPIFFE ID",
        "X509-SVID.md section 2",
    )?;
    require(
        candidate.subject.profile.is_ca() == id.path().is_empty(),
        "uri_san_path",
        "a leaf needs a path in its SPIFFE ID, and a CA may have none",
        "X509-SVID.md sections 3.1 and 3.2",
    )
}
