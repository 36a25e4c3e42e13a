//! What the judgement of an import asks of one certificate.

use countersign_issue::key::key_id;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::{Foreign, ImportError};

/// UTF8String, the encoding of names in our requests (RFC 5280 section 4.1.2.4).
const UTF8_STRING: u32 = 12;

pub(super) struct Facts<'c> {
    what: &'static str,
    der: &'c [u8],
    x509: X509Certificate<'c>,
}

impl<'c> Facts<'c> {
    /// `None` for anything but one certificate whose extensions occur once each.
    pub(super) fn read(what: &'static str, der: &'c CertificateDer<'_>) -> Option<Self> {
        let (rest, x509) = X509Certificate::from_der(der).ok()?;
        let is_clear = rest.is_empty() && x509.extensions_map().is_ok();
        is_clear.then_some(Self { what, der, x509 })
    }

    /// `Ok` where a rule holds for this certificate.
    pub(super) fn require(
        &self,
        holds: bool,
        rule: &'static str,
        problem: &str,
        remedy: &'static str,
    ) -> Result<(), ImportError> {
        let broken = || ImportError {
            rule,
            what: self.what,
            problem: problem.to_owned(),
            remedy,
        };
        holds.then_some(()).ok_or_else(broken)
    }

    pub(super) fn what(&self) -> &'static str {
        self.what
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.der.to_vec().into()
    }

    pub(super) fn spki(&self) -> &[u8] {
        self.x509.public_key().raw
    }

    /// Whether the subject is this common name alone, in the bytes that a CA under it will write:
    /// relying parties compare names byte for byte.
    pub(super) fn has_subject(&self, common_name: &str) -> bool {
        let attributes: Vec<_> = self.x509.subject().iter_attributes().collect();
        let names: Vec<_> = self.x509.subject().iter_common_name().collect();
        let ([only], [_]) = (names.as_slice(), attributes.as_slice()) else {
            return false;
        };
        let value = only.attr_value();
        value.tag().0 == UTF8_STRING && value.data == common_name.as_bytes()
    }

    pub(super) fn has_other_name_than(&self, other: &Self) -> bool {
        self.x509.subject().as_raw() != other.x509.subject().as_raw()
    }

    pub(super) fn is_ca(&self) -> bool {
        self.x509.is_ca()
    }

    pub(super) fn path_length(&self) -> Option<u32> {
        let constraints = self.x509.basic_constraints().ok().flatten()?;
        constraints.value.path_len_constraint
    }

    pub(super) fn may_sign_certificates(&self) -> bool {
        let usage = self.x509.key_usage().ok().flatten();
        usage.is_some_and(|usage| usage.value.key_cert_sign())
    }

    pub(super) fn has_name_constraints(&self) -> bool {
        let is_one =
            |parsed: &ParsedExtension<'_>| matches!(parsed, ParsedExtension::NameConstraints(_));
        let mut extensions = self.x509.extensions().iter();
        extensions.any(|extension| is_one(extension.parsed_extension()))
    }

    /// Whether its signature is of an algorithm that relying parties take, whoever made it.
    pub(super) fn check_algorithm(&self) -> Result<(), ImportError> {
        let name = algorithm_name(&self.x509.signature_algorithm.algorithm.to_id_string());
        self.require(
            !self.algorithms().is_empty(),
            "import_signature_algorithm",
            &format!("is signed with {name}, which the mesh does not accept"),
            "have it signed anew, with the same key and subject, with SHA-256, SHA-384 or SHA-512 \
             and ECDSA, RSA or Ed25519",
        )
    }

    /// The algorithms that verify a signature of its kind.
    fn algorithms(&self) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
        let named = self.x509.signature_algorithm.algorithm.as_bytes();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let algorithms = provider.signature_verification_algorithms.all.iter();
        // An AlgorithmIdentifier begins with the tag and length of its OBJECT IDENTIFIER.
        let of_that_name = algorithms.filter(|algorithm| {
            let id = algorithm.signature_alg_id();
            id.get(2..2 + named.len()) == Some(named)
        });
        of_that_name.copied().collect()
    }

    /// Whether the issuer's name and key are those of `issuer`.
    pub(super) fn is_signed_by(&self, issuer: &Self) -> bool {
        if self.x509.issuer().as_raw() != issuer.x509.subject().as_raw() {
            return false;
        }
        let der = CertificateDer::from(issuer.der);
        let Ok(key) = EndEntityCert::try_from(&der) else {
            return false;
        };
        let message = self.x509.tbs_certificate.as_ref();
        let signature = &self.x509.signature_value.data;
        let mut algorithms = self.algorithms().into_iter();
        algorithms.any(|algorithm| key.verify_signature(algorithm, message, signature).is_ok())
    }

    pub(super) fn not_before(&self) -> Timestamp {
        moment(self.x509.validity().not_before.timestamp())
    }

    pub(super) fn not_after(&self) -> Timestamp {
        moment(self.x509.validity().not_after.timestamp())
    }

    pub(super) fn into_foreign(self, der: &CertificateDer<'_>) -> Result<Foreign, ImportError> {
        let key_identifier = self.key_identifier();
        self.require(
            key_identifier.is_some(),
            "import_no_key_identifier",
            "has no subject key identifier (RFC 5280 section 4.2.1.2)",
            "have it signed with subjectKeyIdentifier=hash",
        )?;
        Ok(Foreign {
            key_id: key_id(self.spki()),
            key_identifier: key_identifier.unwrap_or_default(),
            serial: hex::encode(self.x509.raw_serial()),
            not_before: self.not_before(),
            not_after: self.not_after(),
            certificate: der.clone().into_owned(),
        })
    }

    fn key_identifier(&self) -> Option<String> {
        let mut extensions = self.x509.extensions().iter();
        extensions.find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(hex::encode(id.0)),
            _ => None,
        })
    }
}

/// What people call the algorithms that are no longer accepted; others are told by their number.
fn algorithm_name(id: &str) -> String {
    let name = match id {
        "1.2.840.113549.1.1.4" => "MD5 (md5WithRSAEncryption)",
        "1.2.840.113549.1.1.5" => "SHA-1 (sha1WithRSAEncryption)",
        "1.2.840.10045.4.1" => "SHA-1 (ecdsa-with-SHA1)",
        _ => return format!("the algorithm {id}"),
    };
    name.to_owned()
}

/// "No well-defined end" (RFC 5280 section 4.1.2.5) lies beyond what a [`Timestamp`] holds.
fn moment(seconds: i64) -> Timestamp {
    let nearest = if seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_second(seconds).unwrap_or(nearest)
}
