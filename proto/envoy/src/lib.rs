//! Envoy's payload messages, built and read through `envoy-types`.
//!
//! Nothing else of Countersign sees that crate. Never built here: a validation context without
//! `trusted_ca` (an Envoy then admits anybody), an empty bundle, a matcher (Envoy ORs it with the
//! operator's, so it could only widen).

use bytes::Bytes;
use countersign_model::TrustDomain;
use rustls_pki_types::CertificateDer;

/// Type URL of Envoy's Secret.
pub const SECRET_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// A payload that does not decode to what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed secret: {0}")]
pub struct SecretError(pub &'static str);

/// A `TlsCertificate` secret with chain and private key (PKCS#8 DER), for a local Envoy.
pub fn tls_certificate(name: &str, chain: &[CertificateDer<'_>], pkcs8: &[u8]) -> Bytes {
    let _ = (name, chain, pkcs8);
    Bytes::new()
}

/// A `TlsCertificate` secret with the chain alone: how a chain travels to a sidecar.
pub fn certificate_chain(name: &str, chain: &[CertificateDer<'_>]) -> Bytes {
    let _ = (name, chain);
    Bytes::new()
}

/// The chain of a secret made by [`certificate_chain`].
///
/// # Errors
/// Another kind of secret, or a chain that is no PEM.
pub fn read_certificate_chain(body: &[u8]) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let _ = body;
    Err(SecretError("skeleton"))
}

/// A plain `trusted_ca` of one trust domain. `roots` is not empty.
pub fn trusted_ca(name: &str, roots: &[CertificateDer<'_>]) -> Bytes {
    let _ = (name, roots);
    Bytes::new()
}

/// The roots of a secret made by [`trusted_ca`].
///
/// # Errors
/// Another kind of secret, or roots that are no PEM.
pub fn read_trusted_ca(body: &[u8]) -> Result<Vec<CertificateDer<'static>>, SecretError> {
    let _ = body;
    Err(SecretError("skeleton"))
}

/// Envoy's SPIFFE validator with one bundle for each trust domain, sorted by name.
pub fn spiffe_validator(name: &str, bundles: &[(&TrustDomain, &[CertificateDer<'_>])]) -> Bytes {
    let _ = (name, bundles);
    Bytes::new()
}
