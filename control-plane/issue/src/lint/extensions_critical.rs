//! What a verifier must understand is critical, and nothing else: basic constraints and key usage,
//! and the SAN where it is all the name there is (RFC 5280 sections 4.2.1.3, 4.2.1.6, 4.2.1.9).

use x509_parser::extensions::{ParsedExtension, X509Extension};

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "extensions_critical",
    section: "RFC 5280 sections 4.2.1.3, 4.2.1.6 and 4.2.1.9",
    problem: "an extension is critical, or not, against the standard",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let is_ca = candidate.subject.profile.is_ca();
    let is_right = |extension: &X509Extension<'_>| {
        let wanted = match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(_) | ParsedExtension::KeyUsage(_) => true,
            ParsedExtension::SubjectAlternativeName(_) => !is_ca,
            _ => false,
        };
        extension.critical == wanted
    };
    reading.tbs.extensions().iter().all(is_right)
}
