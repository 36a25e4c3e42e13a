//! Judging a chain.

use countersign_model::SpiffeId;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::{BundleSet, Refusal};

/// Most certificates that are looked at, the leaf included.
pub const MAX_CHAIN_CERTIFICATES: usize = 4;
/// Most bytes that are looked at, over all certificates.
pub const MAX_CHAIN_BYTES: usize = 16 * 1024;

/// What an accepted leaf says. Only [`verify_svid`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSvid {
    /// The one SPIFFE ID of the leaf.
    pub id: SpiffeId,
    /// The serial's magnitude, big-endian.
    pub serial: Vec<u8>,
    /// NotBefore.
    pub not_before: Timestamp,
    /// NotAfter.
    pub not_after: Timestamp,
    /// SHA-256 over the leaf's SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
}

/// Judges a chain, leaf first, at `now`, by the bundle of the leaf's own trust domain.
/// `crls`: every issuer in the path needs one as soon as there is any.
///
/// # Errors
/// The first rule that the chain breaks.
pub fn verify_svid(
    chain: &[CertificateDer<'_>],
    bundles: &BundleSet,
    crls: &[CertificateRevocationListDer<'_>],
    now: Timestamp,
) -> Result<VerifiedSvid, Refusal> {
    let _ = (chain, bundles, crls, now);
    Err(Refusal::EmptyChain)
}
