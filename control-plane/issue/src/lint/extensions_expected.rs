//! The extensions of the profile and no others (RFC 5280 section 4.2; X509-SVID.md section 4): an
//! unknown one could carry a claim that nobody here judged.

use x509_parser::extensions::ParsedExtension;

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "extensions_expected",
    section: "RFC 5280 section 4.2",
    problem: "an extension is missing, unreadable, or not one of the profile",
    of: Of::All,
    holds,
};

/// Basic constraints, key usage, SAN, and both key identifiers.
const OF_ALL: usize = 5;
/// And the extended key usages.
const OF_LEAVES: usize = OF_ALL + 1;

fn holds(reading: &Reading<'_>, candidate: &Candidate<'_>) -> bool {
    let is_leaf = !candidate.subject.profile.is_ca();
    let extensions = reading.tbs.extensions();
    let is_expected = |parsed: &ParsedExtension<'_>| match parsed {
        ParsedExtension::BasicConstraints(_)
        | ParsedExtension::KeyUsage(_)
        | ParsedExtension::SubjectAlternativeName(_)
        | ParsedExtension::SubjectKeyIdentifier(_)
        | ParsedExtension::AuthorityKeyIdentifier(_) => true,
        ParsedExtension::ExtendedKeyUsage(_) => is_leaf,
        _ => false,
    };
    // None is there twice, so that a count is enough.
    let wanted = if is_leaf { OF_LEAVES } else { OF_ALL };
    extensions.len() == wanted
        && extensions
            .iter()
            .all(|extension| is_expected(extension.parsed_extension()))
}
