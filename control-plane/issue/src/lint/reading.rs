//! A to-be-signed certificate, read once for all rules: what it says, and the bytes of its fields.

use x509_parser::asn1_rs::Any;
use x509_parser::certificate::TbsCertificate;
use x509_parser::extensions::{
    BasicConstraints, ExtendedKeyUsage, GeneralName, KeyIdentifier, KeyUsage, ParsedExtension,
    X509Extension,
};
use x509_parser::prelude::FromDer;

pub(super) struct Reading<'a> {
    pub(super) whole: &'a [u8],
    pub(super) tbs: TbsCertificate<'a>,
    pub(super) fields: Fields<'a>,
}

/// The fields before the extensions (RFC 5280 section 4.1), each with its tag and length.
pub(super) struct Fields<'a> {
    pub(super) version: &'a [u8],
    pub(super) serial: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) issuer: &'a [u8],
    /// Content of the two times, with their tags and lengths.
    pub(super) validity: [&'a [u8]; 2],
    pub(super) subject: &'a [u8],
    pub(super) key: &'a [u8],
}

impl<'a> Reading<'a> {
    /// `None` where the bytes are no to-be-signed certificate, or more than one.
    pub(super) fn of(whole: &'a [u8]) -> Option<Self> {
        let (rest, tbs) = TbsCertificate::from_der(whole).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let fields = Fields::of(whole)?;
        Some(Self { whole, tbs, fields })
    }

    pub(super) fn basic_constraints(&self) -> Option<&BasicConstraints> {
        self.find(|parsed| match parsed {
            ParsedExtension::BasicConstraints(value) => Some(value),
            _ => None,
        })
    }

    pub(super) fn key_usage(&self) -> Option<&KeyUsage> {
        self.find(|parsed| match parsed {
            ParsedExtension::KeyUsage(value) => Some(value),
            _ => None,
        })
    }

    pub(super) fn extended_key_usage(&self) -> Option<&ExtendedKeyUsage<'a>> {
        self.find(|parsed| match parsed {
            ParsedExtension::ExtendedKeyUsage(value) => Some(value),
            _ => None,
        })
    }

    pub(super) fn subject_key_identifier(&self) -> Option<&KeyIdentifier<'a>> {
        self.find(|parsed| match parsed {
            ParsedExtension::SubjectKeyIdentifier(value) => Some(value),
            _ => None,
        })
    }

    /// The key identifier of an authority key identifier that consists of nothing else.
    pub(super) fn authority_key_identifier(&self) -> Option<&KeyIdentifier<'a>> {
        self.find(|parsed| match parsed {
            ParsedExtension::AuthorityKeyIdentifier(value) => {
                let alone =
                    value.authority_cert_issuer.is_none() && value.authority_cert_serial.is_none();
                value.key_identifier.as_ref().filter(|_| alone)
            }
            _ => None,
        })
    }

    /// The subject alternative names, in order.
    pub(super) fn names(&self) -> &[GeneralName<'a>] {
        let names = self.find(|parsed| match parsed {
            ParsedExtension::SubjectAlternativeName(value) => Some(&value.general_names),
            _ => None,
        });
        names.map_or(&[], Vec::as_slice)
    }

    pub(super) fn uris(&self) -> impl Iterator<Item = &'a str> {
        self.names().iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
    }

    pub(super) fn dns(&self) -> impl Iterator<Item = &'a str> {
        self.names().iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        })
    }

    fn find<'s, T>(
        &'s self,
        choose: impl FnMut(&'s ParsedExtension<'a>) -> Option<&'s T>,
    ) -> Option<&'s T> {
        let parsed = self.tbs.extensions().iter();
        parsed.map(X509Extension::parsed_extension).find_map(choose)
    }
}

impl<'a> Fields<'a> {
    fn of(tbs: &'a [u8]) -> Option<Self> {
        let mut fields = Elements(content(tbs)?);
        let version = fields.next()?;
        let serial = fields.next()?;
        let signature = fields.next()?;
        let issuer = fields.next()?;
        let mut times = Elements(content(fields.next()?)?);
        let validity = [times.next()?, times.next()?];
        Some(Self {
            version,
            serial,
            signature,
            issuer,
            validity,
            subject: fields.next()?,
            key: fields.next()?,
        })
    }
}

/// The content of one element.
fn content(element: &[u8]) -> Option<&[u8]> {
    Any::from_der(element).ok().map(|(_, any)| any.data)
}

/// Elements that follow one another, each with its tag and length.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (rest, _) = Any::from_der(self.0).ok()?;
        let element = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(element)
    }
}
