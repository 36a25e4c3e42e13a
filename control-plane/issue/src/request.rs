//! Certification requests (PKCS #10, RFC 2986): a public key and the proof of its private one.
//!
//! Nothing else of a request counts: subject, names and extensions are never copied, whatever they
//! ask for. Size is judged first and depth second, before anything is parsed; what is left must be
//! strict DER, so that no two readers see two requests in the same bytes.

mod der;

use std::collections::HashSet;
use std::fmt;

use countersign_verify::pem::{self, Bounds, CERTIFICATE_REQUEST, PemError};
use countersign_verify::request::{self, RequestSignatureError};
use sha2::{Digest, Sha256};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Encode};
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq};

use super::key::{PublicKey, UNKNOWN_KIND};
use crate::Finding;

/// Largest request: RSA of 8192 bits with a subject and names needs a quarter of it.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// Deepest nesting. What `openssl req` makes has seven levels.
const MAX_DEPTH: usize = 16;
/// One request, and text around it.
const PEM_BOUNDS: Bounds = Bounds {
    text: MAX_REQUEST_BYTES,
    blocks: 1,
    block: MAX_REQUEST_BYTES,
};
/// What a DER request begins with; in text it is the digit 0.
const SEQUENCE_TAG: u8 = 0x30;
/// Then comes the length of a request, which is never short; in ASCII there is no such byte.
const LONG_LENGTH: u8 = 0x80;

/// Why a request is not taken, by rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Beyond the bound.
    #[error("a certification request has at most {MAX_REQUEST_BYTES} bytes")]
    TooLarge,
    /// Text that is no request.
    #[error("the request is neither DER nor one PEM block of a certification request: {0}")]
    Pem(PemError),
    /// Nested beyond the bound.
    #[error("the request nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than one request.
    #[error("bytes follow the request")]
    TrailingBytes,
    /// Not the structure.
    #[error("the request is not a PKCS #10 request in DER (RFC 2986 section 4)")]
    NotDer,
    /// An attribute stands there twice.
    #[error("an attribute stands in the request twice (RFC 2986 section 4.1)")]
    DuplicateAttribute,
    /// An extension stands there twice.
    #[error("an extension stands in the request twice (RFC 5280 section 4.2)")]
    DuplicateExtension,
    /// A key of a kind that is not certified.
    #[error("the key is not ECDSA P-256 or P-384, or RSA with 2048 to 8192 bits")]
    KeyKind,
    /// A key that breaks a rule.
    #[error(transparent)]
    WeakKey(Finding),
    /// Signed in another way than is accepted.
    #[error("the signature algorithm is not ECDSA or RSA with SHA-2, or not that of the key")]
    SignatureAlgorithm,
    /// Possession of the key is not proved.
    #[error("the request is not signed by the key that it names (RFC 2986 section 4.2)")]
    SignatureInvalid,
}

impl RequestError {
    fn of_key(finding: Finding) -> Self {
        if finding.rule == UNKNOWN_KIND.rule {
            Self::KeyKind
        } else {
            Self::WeakKey(finding)
        }
    }

    /// The rule, stable.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "csr_too_large",
            Self::Pem(_) => "csr_pem",
            Self::TooDeep => "csr_too_deep",
            Self::TrailingBytes => "csr_trailing_bytes",
            Self::NotDer => "csr_not_der",
            Self::DuplicateAttribute => "csr_duplicate_attribute",
            Self::DuplicateExtension => "csr_duplicate_extension",
            Self::KeyKind => "csr_key_kind",
            Self::WeakKey(finding) => finding.rule,
            Self::SignatureAlgorithm => "csr_signature_algorithm",
            Self::SignatureInvalid => "csr_signature_invalid",
        }
    }

    /// What mends it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::TooLarge | Self::TooDeep => {
                "make a plain request: only its key counts, names come from the registration"
            }
            Self::Pem(_) | Self::TrailingBytes => {
                "give one request alone, as `openssl req -new` writes it"
            }
            Self::NotDer | Self::DuplicateAttribute | Self::DuplicateExtension => {
                "make the request anew, for example with `openssl req -new`"
            }
            Self::KeyKind | Self::WeakKey(_) => {
                "make a key with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
            }
            Self::SignatureAlgorithm => "sign the request with SHA-256",
            Self::SignatureInvalid => "make the request anew with the key that it is for",
        }
    }
}

/// A public key whose holder has signed a request with it. Only [`Requested::read`] makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct Requested {
    spki: Vec<u8>,
}

impl Requested {
    /// Reads a request, PEM or DER, and checks its signature.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLarge);
        }
        // Bytes that can only be DER are never searched for a second reading.
        if matches!(bytes, [SEQUENCE_TAG, LONG_LENGTH..=u8::MAX, ..]) {
            return Self::read_der(bytes);
        }
        match pem::read(bytes, CERTIFICATE_REQUEST, PEM_BOUNDS) {
            Ok(blocks) => Self::read_der(&blocks.concat()),
            Err(PemError::NoBlock { .. }) if bytes.first() == Some(&SEQUENCE_TAG) => {
                Self::read_der(bytes)
            }
            Err(error) => Err(RequestError::Pem(error)),
        }
    }

    fn read_der(bytes: &[u8]) -> Result<Self, RequestError> {
        der::check(bytes, MAX_DEPTH)?;
        let whole = der::with_attributes(bytes)?;
        let request = CertReq::from_der(&whole).map_err(|_| RequestError::NotDer)?;
        if request.to_der().map_err(|_| RequestError::NotDer)? != whole {
            return Err(RequestError::NotDer);
        }
        nothing_twice(&request.info)?;
        let spki = request.info.public_key.to_der();
        let spki = spki.map_err(|_| RequestError::NotDer)?;
        PublicKey::read(&spki).map_err(RequestError::of_key)?;
        is_signed(&request, der::signed_part(bytes)?, &spki)?;
        Ok(Self { spki })
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 over the SubjectPublicKeyInfo.
    pub fn spki_sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.spki).into()
    }
}

impl fmt::Debug for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Requested({})", hex::encode(self.spki_sha256()))
    }
}

/// What is ignored must still be one thing: a request that says something twice was made to be
/// read in two ways.
fn nothing_twice(info: &CertReqInfo) -> Result<(), RequestError> {
    let mut attributes = HashSet::new();
    for attribute in info.attributes.iter() {
        if !attributes.insert(attribute.oid) {
            return Err(RequestError::DuplicateAttribute);
        }
        if attribute.oid != ExtensionReq::OID {
            continue;
        }
        let [asked] = attribute.values.as_slice() else {
            return Err(RequestError::DuplicateAttribute);
        };
        let asked: ExtensionReq = asked.decode_as().map_err(|_| RequestError::NotDer)?;
        let mut extensions = HashSet::new();
        if !asked.0.iter().all(|it| extensions.insert(it.extn_id)) {
            return Err(RequestError::DuplicateExtension);
        }
    }
    Ok(())
}

/// Proof of possession.
fn is_signed(request: &CertReq, message: &[u8], spki: &[u8]) -> Result<(), RequestError> {
    let encoded = |_| RequestError::NotDer;
    let algorithm = request.algorithm.to_der().map_err(encoded)?;
    let algorithm = der::contents(&algorithm)?;
    let signature = request.signature.as_bytes().ok_or(RequestError::NotDer)?;
    request::verify(spki, algorithm, signature, message).map_err(|error| match error {
        RequestSignatureError::Algorithm => RequestError::SignatureAlgorithm,
        RequestSignatureError::Key => RequestError::KeyKind,
        _ => RequestError::SignatureInvalid,
    })
}

#[cfg(test)]
mod tests;
