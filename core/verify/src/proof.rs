//! Proof that a caller holds a private key, bound to one TLS session (`KeyProof` of mesh.proto).
//!
//! The signed message holds the session's TLS exporter (RFC 8446 section 7.5), so a proof that was
//! overheard or relayed proves nothing in another session, and the entitlement, so it proves
//! nothing for another name.

use rustls::SignatureScheme;
use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::{RawPublicKeyEntity, aws_lc_rs as algorithms};

/// Label of the TLS exporter that the proof is bound to; its context is empty.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-countersign-key-proof";
/// Most bytes of a SubjectPublicKeyInfo: RSA of 8192 bits needs 1062.
pub const MAX_SPKI_BYTES: usize = 1100;
/// Most bytes of a signature: RSA of 8192 bits.
pub const MAX_SIGNATURE_BYTES: usize = 1024;
/// Most bytes of a message: context, exporter, an entitlement's name and the key.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Key, signature or message longer than its limit.
    #[error("the key proof is larger than a proof can be")]
    TooLarge,
    /// A signature scheme that is not ECDSA on P-256 or P-384, or RSA with SHA-2.
    #[error("the signature scheme {scheme:#06x} of the key proof is not accepted")]
    Scheme {
        /// The TLS code point.
        scheme: u16,
    },
    /// The key does not parse, is too small, or is not of the kind that the scheme names.
    #[error("the public key of the key proof does not fit its signature scheme")]
    Key,
    /// The signature was not made by this key over this message.
    #[error("the signature of the key proof is invalid")]
    Signature,
}

/// What the holder signs: the name of this proof, the exporter of the session, the entitlement
/// that the key is for, and the SubjectPublicKeyInfo.
pub fn message(exporter: &[u8; 32], entitlement: &str, spki: &[u8]) -> Vec<u8> {
    [CONTEXT, exporter, entitlement.as_bytes(), &[0], spki].concat()
}

/// Checks a signature over [`message`]. `scheme` is a TLS SignatureScheme code point (RFC 8446
/// section 4.2.3); `spki` is DER, and must be of exactly the kind that the scheme names.
///
/// # Errors
/// The first thing that is wrong with the proof.
pub fn verify(
    spki: &[u8],
    scheme: u16,
    signature: &[u8],
    message: &[u8],
) -> Result<(), ProofError> {
    if spki.len() > MAX_SPKI_BYTES
        || signature.len() > MAX_SIGNATURE_BYTES
        || message.len() > MAX_MESSAGE_BYTES
    {
        return Err(ProofError::TooLarge);
    }
    let (algorithm, length) = accepted(scheme).ok_or(ProofError::Scheme { scheme })?;
    if length.is_some_and(|length| length != spki.len()) {
        return Err(ProofError::Key);
    }
    let spki = SubjectPublicKeyInfoDer::from(spki);
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| ProofError::Key)?;
    key.verify_signature(algorithm, message, signature)
        .map_err(|error| match error {
            webpki::Error::InvalidSignatureForPublicKey => ProofError::Signature,
            _ => ProofError::Key,
        })
}

/// A verification algorithm, and the length of its keys where they have one encoding: that of an
/// uncompressed point.
type Accepted = (&'static dyn SignatureVerificationAlgorithm, Option<usize>);

fn accepted(scheme: u16) -> Option<Accepted> {
    match SignatureScheme::from(scheme) {
        SignatureScheme::ECDSA_NISTP256_SHA256 => {
            Some((algorithms::ECDSA_P256_SHA256, Some(P256_SPKI_BYTES)))
        }
        SignatureScheme::ECDSA_NISTP384_SHA384 => {
            Some((algorithms::ECDSA_P384_SHA384, Some(P384_SPKI_BYTES)))
        }
        SignatureScheme::RSA_PSS_SHA256 => {
            Some((algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY, None))
        }
        SignatureScheme::RSA_PSS_SHA384 => {
            Some((algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY, None))
        }
        SignatureScheme::RSA_PSS_SHA512 => {
            Some((algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY, None))
        }
        SignatureScheme::RSA_PKCS1_SHA256 => Some((algorithms::RSA_PKCS1_2048_8192_SHA256, None)),
        SignatureScheme::RSA_PKCS1_SHA384 => Some((algorithms::RSA_PKCS1_2048_8192_SHA384, None)),
        SignatureScheme::RSA_PKCS1_SHA512 => Some((algorithms::RSA_PKCS1_2048_8192_SHA512, None)),
        _ => None,
    }
}

const CONTEXT: &[u8] = b"countersign-key-proof-v1\0";
const P256_SPKI_BYTES: usize = 91;
const P384_SPKI_BYTES: usize = 120;

#[cfg(test)]
mod tests;
