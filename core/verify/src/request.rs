//! The signature of a certification request by its own key (RFC 2986 section 4.2).
//!
//! Unlike TLS 1.3, a request may pair any accepted curve with SHA-256 or SHA-384: `openssl req`
//! signs with SHA-256 whatever the key. Which pairs there are is what webpki knows.

use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use webpki::{RawPublicKeyEntity, aws_lc_rs as algorithms};

/// Why a request proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestSignatureError {
    /// Not ECDSA or RSA with SHA-2, or not of the kind of the key.
    #[error("the signature algorithm is not accepted for this key")]
    Algorithm,
    /// The key does not parse.
    #[error("the public key does not read")]
    Key,
    /// The signature was not made by this key over this message.
    #[error("the signature was not made by the key of the request")]
    Signature,
}

/// Checks that `signature` was made over `message` by the key in `spki` (DER), with the algorithm
/// whose AlgorithmIdentifier has these contents (DER, without tag and length). The caller bounds
/// all four.
///
/// # Errors
/// What is wrong with it.
pub fn verify(
    spki: &[u8],
    algorithm: &[u8],
    signature: &[u8],
    message: &[u8],
) -> Result<(), RequestSignatureError> {
    let spki = SubjectPublicKeyInfoDer::from(spki);
    let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| RequestSignatureError::Key)?;
    let mut outcome = Err(RequestSignatureError::Algorithm);
    for candidate in ACCEPTED {
        if candidate.signature_alg_id().as_ref() != algorithm {
            continue;
        }
        match key.verify_signature(*candidate, message, signature) {
            Ok(()) => return Ok(()),
            Err(webpki::Error::InvalidSignatureForPublicKey) => {
                outcome = Err(RequestSignatureError::Signature);
            }
            // Of another kind of key: the next candidate may be of this one.
            Err(_) => {}
        }
    }
    outcome
}

/// Each algorithm for each kind of key that it goes with.
const ACCEPTED: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P256_SHA512,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P384_SHA512,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

#[cfg(test)]
mod tests;
