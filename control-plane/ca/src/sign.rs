//! The only place that signs certificates with a CA key, and only for a logged entry.
//!
//! A CA key has two other uses: [`super::request`] and [`super::asking`] sign the request for its own
//! certificate with it, to a root that is not ours or to another replica. Neither can ever pass for a
//! certificate. What is asked of a replica begins with a letter. A CertificationRequestInfo (RFC 2986 section 4) is an
//! INTEGER and then a Name, whose first element is a SET; a TBSCertificate (RFC 5280 section 4.1)
//! begins with a tagged version or, without one, has an AlgorithmIdentifier in that place, whose
//! first element is an OBJECT IDENTIFIER. No bytes are both.

use countersign_issue::issuance::Issuance;
use countersign_tlog::LogError;
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use tracing::info_span;

use super::der;
use super::key::{CaKey, KeyError, ToBeSigned};
use super::log::{Log, Logged};

/// A certificate that was checked, logged and signed, in this order.
#[derive(Debug)]
pub struct Signed {
    issuance: Box<Issuance>,
    signature: Vec<u8>,
    certificate: CertificateDer<'static>,
}

/// Signs what the log of this control plane holds, with the key that the entry names.
///
/// # Errors
/// The key is another, or cannot be used; or another replica logged the certificate.
pub fn sign(logged: Logged, key: &dyn CaKey) -> Result<Signed, KeyError> {
    let issuance = logged.issuance();
    let span = info_span!("sign", serial = %issuance.serial, issuer = key.key_id());
    let _entered = span.enter();
    if !logged.is_ours() {
        return Err(KeyError::LoggedElsewhere);
    }
    if issuance.issuer != key.key_id() {
        return Err(KeyError::Damaged(key.key_id().to_owned()));
    }
    let signature = key.sign(&ToBeSigned::new(&issuance.tbs))?;
    Ok(signed(logged, signature))
}

/// A certificate and the signature that is its own.
fn signed(logged: Logged, signature: Vec<u8>) -> Signed {
    let issuance = logged.into_issuance();
    Signed {
        certificate: der::certificate(&issuance.tbs, &signature).into(),
        issuance,
        signature,
    }
}

impl Log {
    /// The certificate of an entry whose signature was kept beside it; the entry again where it was
    /// not.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn signed_before(&self, logged: Logged) -> Result<Result<Signed, Logged>, LogError> {
        let signature = self.signature(logged.issuance().serial.index())?;
        Ok(match signature {
            Some(signature) => Ok(signed(logged, signature)),
            None => Err(logged),
        })
    }
}

impl Signed {
    /// The certificate of an entry and the signature that was kept for it elsewhere. Nothing is checked:
    /// whoever is given the certificate verifies it.
    pub fn from_kept(logged: Logged, signature: Vec<u8>) -> Self {
        signed(logged, signature)
    }

    /// For tests of what is made of it.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(issuance: Issuance, signature: Vec<u8>) -> Self {
        signed(Logged::for_test(issuance), signature)
    }

    /// The certificate that was signed, and what it is for.
    pub fn issuance(&self) -> &Issuance {
        &self.issuance
    }

    /// The signature, as it stands in the certificate.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 over the certificate: the fingerprint that people compare.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }
}
