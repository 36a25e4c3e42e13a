//! No extension twice: readers differ in which of the two they believe (RFC 5280 section 4.2).

use x509_parser::extensions::X509Extension;

use super::reading::Reading;
use super::{Candidate, Of, Rule};

pub(super) const RULE: Rule = Rule {
    name: "extensions_once",
    section: "RFC 5280 section 4.2",
    problem: "an extension is there twice",
    of: Of::All,
    holds,
};

fn holds(reading: &Reading<'_>, _: &Candidate<'_>) -> bool {
    let extensions = reading.tbs.extensions();
    let is_first = |(index, extension): (usize, &X509Extension<'_>)| {
        let before = &extensions[..index];
        before.iter().all(|earlier| earlier.oid != extension.oid)
    };
    extensions.iter().enumerate().all(is_first)
}
