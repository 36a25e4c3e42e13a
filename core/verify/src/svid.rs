//! Judging a chain: limits, then the leaf, then its issuers, then the path to a root.
//!
//! The order bounds the work: nothing is parsed before the limits held, and no signature is
//! checked before every certificate passed the rules that its own text can answer.

use countersign_model::{SpiffeId, TrustDomain};
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use sha2::{Digest, Sha256};
use x509_parser::extensions::ExtendedKeyUsage;

use crate::certificate::Certificate;
use crate::{BundleSet, Refusal, path};

/// Most certificates that are looked at, the leaf included.
pub const MAX_CHAIN_CERTIFICATES: usize = 4;
/// Most bytes that are looked at, over all certificates.
pub const MAX_CHAIN_BYTES: usize = 16 * 1024;
/// Most CRLs that one judgement consults.
pub const MAX_CRLS: usize = 64;

/// What an accepted leaf says. [`verify_svid`] makes it; [`peer_of`](crate::tls::peer_of) reads it
/// again after a handshake.
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
    let (leaf, intermediates) = within_limits(chain)?;
    let svid = read_leaf(leaf)?;
    let trust_domain = svid.id.trust_domain();
    check_validity(0, svid.not_before, svid.not_after, now)?;
    for (index, der) in (1..).zip(intermediates) {
        let issuer = Certificate::parse(index, der)?;
        check_issuer(&issuer, &trust_domain)?;
        check_validity(index, issuer.not_before(), issuer.not_after(), now)?;
    }
    let Some(bundle) = bundles.get(&trust_domain) else {
        return Err(Refusal::UnknownTrustDomain { trust_domain });
    };
    path::walk(leaf, intermediates, bundle, crls, now)?;
    Ok(svid)
}

/// Reads a leaf by the rules of X509-SVID.md sections 2 and 4, without any trust.
pub(crate) fn read_leaf(der: &CertificateDer<'_>) -> Result<VerifiedSvid, Refusal> {
    let leaf = Certificate::parse(0, der)?;
    let id = match leaf.uri_sans().as_slice() {
        [] => return Err(Refusal::NoUriSan),
        [uri] => SpiffeId::with_path(uri).map_err(Refusal::SpiffeId)?,
        uris => return Err(Refusal::ManyUriSans { count: uris.len() }),
    };
    check_leaf(&leaf)?;
    Ok(VerifiedSvid {
        id,
        serial: leaf.serial().to_vec(),
        not_before: leaf.not_before(),
        not_after: leaf.not_after(),
        spki_sha256: Sha256::digest(leaf.spki()).into(),
    })
}

/// A chain split into leaf and intermediates.
type Split<'c, 'd> = (&'c CertificateDer<'d>, &'c [CertificateDer<'d>]);

fn within_limits<'c, 'd>(chain: &'c [CertificateDer<'d>]) -> Result<Split<'c, 'd>, Refusal> {
    let split = chain.split_first().ok_or(Refusal::EmptyChain)?;
    let count = chain.len();
    if count > MAX_CHAIN_CERTIFICATES {
        return Err(Refusal::TooManyCertificates { count });
    }
    let bytes = chain.iter().map(|der| der.len()).sum();
    if bytes > MAX_CHAIN_BYTES {
        return Err(Refusal::TooManyBytes { bytes });
    }
    Ok(split)
}

fn check_leaf(leaf: &Certificate<'_>) -> Result<(), Refusal> {
    if !leaf.is_named() {
        return Err(Refusal::SanNotCritical);
    }
    if leaf.is_ca() {
        return Err(Refusal::LeafIsCa);
    }
    let Some((usage, critical)) = leaf.key_usage() else {
        return Err(Refusal::NoKeyUsage { index: 0 });
    };
    if usage.key_cert_sign() {
        return Err(Refusal::LeafMaySignCertificates);
    }
    if usage.crl_sign() {
        return Err(Refusal::LeafMaySignCrls);
    }
    if !usage.digital_signature() {
        return Err(Refusal::NoDigitalSignature);
    }
    if !critical {
        return Err(Refusal::KeyUsageNotCritical);
    }
    check_purposes(leaf)
}

fn check_purposes(leaf: &Certificate<'_>) -> Result<(), Refusal> {
    let Some(purposes) = leaf.extended_key_usage() else {
        return Ok(());
    };
    let others = [
        purposes.any,
        purposes.code_signing,
        purposes.email_protection,
        purposes.time_stamping,
        purposes.ocsp_signing,
        !purposes.other.is_empty(),
    ];
    match (purposes.server_auth, purposes.client_auth) {
        (true, true) => Ok(()),
        (false, false) if !others.contains(&true) => Err(Refusal::EmptyExtendedKeyUsage),
        _ => Err(Refusal::ExtendedKeyUsage),
    }
}

/// A certificate that issues: an intermediate, or the root of a bundle.
pub(crate) fn check_issuer(
    issuer: &Certificate<'_>,
    trust_domain: &TrustDomain,
) -> Result<(), Refusal> {
    let index = issuer.index();
    if !issuer.is_ca() {
        return Err(Refusal::IssuerIsNotCa { index });
    }
    let Some((usage, _)) = issuer.key_usage() else {
        return Err(Refusal::NoKeyUsage { index });
    };
    if !usage.key_cert_sign() {
        return Err(Refusal::IssuerMayNotSign { index });
    }
    let for_svids = |p: &ExtendedKeyUsage<'_>| p.any || (p.server_auth && p.client_auth);
    if !issuer.extended_key_usage().is_none_or(for_svids) {
        return Err(Refusal::IssuerPurposes { index });
    }
    match issuer.uri_sans().as_slice() {
        [] => Ok(()),
        [uri] => check_issuer_id(index, uri, trust_domain),
        _ => Err(Refusal::IssuerSpiffeId { index }),
    }
}

fn check_issuer_id(index: usize, uri: &str, trust_domain: &TrustDomain) -> Result<(), Refusal> {
    match SpiffeId::new(uri) {
        Ok(id) if !id.path().is_empty() => Err(Refusal::IssuerSpiffeId { index }),
        Ok(id) if id.is_member_of(trust_domain) => Ok(()),
        Ok(id) => Err(Refusal::IssuerOfOtherTrustDomain {
            index,
            trust_domain: id.trust_domain(),
        }),
        Err(_) => Err(Refusal::IssuerSpiffeId { index }),
    }
}

fn check_validity(
    index: usize,
    not_before: Timestamp,
    not_after: Timestamp,
    now: Timestamp,
) -> Result<(), Refusal> {
    if now < not_before {
        Err(Refusal::NotYetValid { index, not_before })
    } else if now > not_after {
        Err(Refusal::Expired { index, not_after })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
