//! What two certificates have in common that a linter could not tell apart but by their values.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::log::Certificate;

/// Profile, kind and size of the key, kinds of names, extensions, encodings of the times, and which
/// profile its issuer has.
pub(crate) fn of(certificate: &Certificate) -> String {
    let Ok((_, read)) = X509Certificate::from_der(&certificate.der) else {
        // One that our own reader refuses is a shape of its own: the judge shall see it.
        return certificate.index.to_string();
    };
    let key = read.public_key();
    let key = (
        &key.algorithm.algorithm,
        key.subject_public_key.data.len(),
        key.algorithm.parameters.as_ref().map(|it| it.data),
    );
    let times = (
        read.validity().not_before.is_utctime(),
        read.validity().not_after.is_utctime(),
    );
    let extensions = read.extensions().iter().map(|extension| {
        let names = names(extension.parsed_extension());
        (extension.oid.to_id_string(), extension.critical, names)
    });
    let extensions: Vec<_> = extensions.collect();
    let issuer = (role(read.issuer()), role(read.subject()));
    format!(
        "{} {key:?} {times:?} {extensions:?} {issuer:?}",
        certificate.profile
    )
}

/// The first letters of the kinds of names, in order.
fn names(extension: &ParsedExtension<'_>) -> Vec<&'static str> {
    let ParsedExtension::SubjectAlternativeName(names) = extension else {
        return Vec::new();
    };
    let kinds = names.general_names.iter().map(|name| match name {
        GeneralName::URI(_) => "uri",
        GeneralName::DNSName(_) => "dns",
        _ => "other",
    });
    kinds.collect()
}

/// A name of ours without its last word, which is the key's.
fn role(name: &X509Name<'_>) -> String {
    let name = name.to_string();
    name.rsplit_once(' ')
        .map_or_else(String::new, |(role, _)| role.to_owned())
}
