//! Subject and authority key identifiers say which key and which CA key
//! (RFC 5280 sections 4.2.1.1 and 4.2.1.2).

use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::ParsedExtension;

use super::{Candidate, Finding, require};
use crate::ca::keys::key_id;

pub(super) fn check(tbs: &TbsCertificate<'_>, candidate: &Candidate<'_>) -> Result<(), Finding> {
    let mut subject = None;
    let mut authority = None;
    for extension in tbs.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => subject = Some(hex::encode(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                authority = id.key_identifier.as_ref().map(|id| hex::encode(id.0));
            }
            _ => {}
        }
    }
    require(
        subject == Some(key_id(candidate.spki)),
        "subject_key_identifier",
        "the subject key identifier is not that of the key",
        "RFC 5280 section 4.2.1.2",
    )?;
    require(
        authority.as_ref() == Some(&candidate.issuer.key_id),
        "authority_key_identifier",
        "the authority key identifier is not that of the issuer",
        "RFC 5280 section 4.2.1.1",
    )
}
