//! One parsed certificate, and the questions that the rules ask of it.
//!
//! Parsing refuses what would make an answer ambiguous: trailing bytes, an extension twice, an
//! extension that does not parse, a critical one that nobody here understands.

use jiff::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{
    BasicConstraints, ExtendedKeyUsage, GeneralName, KeyUsage, NameConstraints, ParsedExtension,
    X509Extension,
};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521,
    OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Version};

use crate::Refusal;

/// A certificate of a chain, at its index.
pub(crate) struct Certificate<'a> {
    index: usize,
    x509: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    /// Parses one certificate and refuses what no rule could judge.
    pub(crate) fn parse(index: usize, der: &'a [u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed { index };
        let Ok((rest, x509)) = X509Certificate::from_der(der) else {
            return Err(malformed);
        };
        if !rest.is_empty() || x509.version() != X509Version::V3 {
            return Err(malformed);
        }
        let certificate = Self { index, x509 };
        certificate.check_extensions()?;
        certificate.check_name_constraints()?;
        certificate.check_key()?;
        Ok(certificate)
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn is_ca(&self) -> bool {
        self.basic_constraints().is_some_and(|basic| basic.ca)
    }

    pub(crate) fn path_len(&self) -> Option<u32> {
        self.basic_constraints()?.path_len_constraint
    }

    /// The key usage and whether it is critical.
    pub(crate) fn key_usage(&self) -> Option<(&KeyUsage, bool)> {
        self.find(|extension| match extension.parsed_extension() {
            ParsedExtension::KeyUsage(usage) => Some((usage, extension.critical)),
            _ => None,
        })
    }

    pub(crate) fn extended_key_usage(&self) -> Option<&ExtendedKeyUsage<'a>> {
        self.find(|extension| match extension.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(usage) => Some(usage),
            _ => None,
        })
    }

    /// The URI SANs in their order.
    pub(crate) fn uri_sans(&self) -> Vec<&'a str> {
        let names = self.find(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => Some(&san.general_names),
            _ => None,
        });
        let uri = |name: &GeneralName<'a>| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        };
        names.into_iter().flatten().filter_map(uri).collect()
    }

    /// Whether a relying party must look at the SAN where the subject says nothing.
    pub(crate) fn is_named(&self) -> bool {
        let critical = self.find(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(_) => Some(extension.critical),
            _ => None,
        });
        critical == Some(true) || self.x509.subject().iter().next().is_some()
    }

    pub(crate) fn not_before(&self) -> Timestamp {
        timestamp(self.x509.validity().not_before)
    }

    pub(crate) fn not_after(&self) -> Timestamp {
        timestamp(self.x509.validity().not_after)
    }

    /// The serial's magnitude, big-endian, without leading zeros.
    pub(crate) fn serial(&self) -> &'a [u8] {
        let raw = self.x509.raw_serial();
        let zeros = raw.iter().take_while(|byte| **byte == 0).count();
        &raw[zeros..]
    }

    /// SubjectPublicKeyInfo, DER.
    pub(crate) fn spki(&self) -> &[u8] {
        self.x509.public_key().raw
    }

    fn basic_constraints(&self) -> Option<&BasicConstraints> {
        self.find(|extension| match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(basic) => Some(basic),
            _ => None,
        })
    }

    fn find<'s, T>(&'s self, pick: impl Fn(&'s X509Extension<'a>) -> Option<T>) -> Option<T> {
        self.x509.extensions().iter().find_map(pick)
    }

    fn check_extensions(&self) -> Result<(), Refusal> {
        let index = self.index;
        if self.x509.extensions_map().is_err() {
            return Err(Refusal::DuplicateExtension { index });
        }
        for extension in self.x509.extensions() {
            let oid = || extension.oid.to_id_string();
            match judge(extension) {
                Reading::Understood | Reading::Ignorable => {}
                Reading::Malformed => {
                    return Err(Refusal::MalformedExtension { index, oid: oid() });
                }
                Reading::UnknownCritical => {
                    return Err(Refusal::UnknownCriticalExtension { index, oid: oid() });
                }
            }
        }
        Ok(())
    }

    fn check_name_constraints(&self) -> Result<(), Refusal> {
        let constraints = self.find(|extension| match extension.parsed_extension() {
            ParsedExtension::NameConstraints(constraints) => Some(constraints),
            _ => None,
        });
        if constraints.is_some_and(constrains_uris) {
            return Err(Refusal::UriNameConstraints { index: self.index });
        }
        Ok(())
    }

    /// The key must be one that a handshake can verify, in its one encoding.
    fn check_key(&self) -> Result<(), Refusal> {
        let index = self.index;
        let spki = self.x509.public_key();
        let algorithm = &spki.algorithm.algorithm;
        match spki.parsed() {
            Ok(PublicKey::RSA(rsa)) if *algorithm == OID_PKCS1_RSAENCRYPTION => {
                let bits = bit_length(rsa.modulus);
                if RSA_BITS.contains(&bits) {
                    Ok(())
                } else {
                    Err(Refusal::WeakKey { index, bits })
                }
            }
            Ok(PublicKey::EC(point)) if is_known_point(spki, point.data()) => Ok(()),
            Ok(_) if *algorithm == OID_SIG_ED25519 => Ok(()),
            _ => Err(Refusal::UnsupportedKey { index }),
        }
    }
}

/// Whether the point has the length of an uncompressed point of the named curve.
fn is_known_point(spki: &SubjectPublicKeyInfo<'_>, point: &[u8]) -> bool {
    let parameters = spki.algorithm.parameters.as_ref();
    let Some(curve) = parameters.and_then(|any| any.as_oid().ok()) else {
        return false;
    };
    spki.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
        && point.first() == Some(&UNCOMPRESSED_POINT)
        && CURVES.contains(&(curve, point.len()))
}

/// What an extension is to this verifier.
enum Reading {
    Understood,
    Ignorable,
    Malformed,
    UnknownCritical,
}

fn judge(extension: &X509Extension<'_>) -> Reading {
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(san) if has_invalid(&san.general_names) => {
            Reading::Malformed
        }
        ParsedExtension::KeyUsage(_)
        | ParsedExtension::SubjectAlternativeName(_)
        | ParsedExtension::BasicConstraints(_)
        | ParsedExtension::ExtendedKeyUsage(_)
        | ParsedExtension::NameConstraints(_)
        | ParsedExtension::CRLDistributionPoints(_) => Reading::Understood,
        ParsedExtension::ParseError { .. } => Reading::Malformed,
        _ if extension.critical => Reading::UnknownCritical,
        _ => Reading::Ignorable,
    }
}

fn has_invalid(names: &[GeneralName<'_>]) -> bool {
    names
        .iter()
        .any(|name| matches!(name, GeneralName::Invalid(..)))
}

/// A base that does not parse may be a URI, so it counts as one.
fn constrains_uris(constraints: &NameConstraints<'_>) -> bool {
    let subtrees = [
        &constraints.permitted_subtrees,
        &constraints.excluded_subtrees,
    ];
    subtrees
        .into_iter()
        .flatten()
        .flatten()
        .any(|subtree| matches!(subtree.base, GeneralName::URI(_) | GeneralName::Invalid(..)))
}

fn bit_length(magnitude: &[u8]) -> usize {
    let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
    match &magnitude[zeros..] {
        [] => 0,
        digits => digits.len() * 8 - digits[0].leading_zeros() as usize,
    }
}

/// "No well-defined end" (99991231235959Z, RFC 5280 section 4.1.2.5) lies beyond what
/// [`Timestamp`] holds; it becomes the last moment that it does hold.
fn timestamp(time: ASN1Time) -> Timestamp {
    let seconds = time.timestamp();
    let nearest = if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_second(seconds).unwrap_or(nearest)
}

/// RSA moduli that the signature algorithms of the TLS stack accept.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// First byte of an EC point that is not compressed (SEC 1 section 2.3.3).
const UNCOMPRESSED_POINT: u8 = 4;
/// Curves and the length of their uncompressed points.
const CURVES: [(Oid<'static>, usize); 3] = [
    (OID_EC_P256, 65),
    (OID_NIST_EC_P384, 97),
    (OID_NIST_EC_P521, 133),
];
