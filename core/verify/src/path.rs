//! The path from a leaf to a root, walked by rustls-webpki with the aws-lc-rs algorithms.
//!
//! What webpki leaves out is added here: the root's own validity, its path length and its right
//! to sign CRLs. Its budget of signature checks and our four certificates bound the work.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, Error, ExpirationPolicy,
    ExtendedKeyUsageValidator, KeyPurposeIdIter, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};

use crate::bundle::Root;
use crate::svid::MAX_CRLS;
use crate::{Refusal, TrustBundle};

/// Walks from `leaf` to a root of `bundle`.
pub(crate) fn walk(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: &TrustBundle,
    crls: &[CertificateRevocationListDer<'_>],
    now: Timestamp,
) -> Result<(), Refusal> {
    let lists = parse_crls(crls)?;
    let lists: Vec<&CertRevocationList<'_>> = lists.iter().collect();
    let leaf = EndEntityCert::try_from(leaf).map_err(|_| Refusal::Malformed { index: 0 })?;
    let accept = |path: &VerifiedPath<'_>| check_root(path, bundle, !lists.is_empty(), now);
    leaf.verify_for_usage(
        crate::tls::provider().signature_verification_algorithms.all,
        bundle.anchors(),
        intermediates,
        unix_time(now),
        PurposesAreJudged,
        revocation(&lists),
        Some(&accept),
    )
    .map(drop)
    .map_err(refusal)
}

fn parse_crls<'c>(
    crls: &'c [CertificateRevocationListDer<'_>],
) -> Result<Vec<CertRevocationList<'c>>, Refusal> {
    let count = crls.len();
    if count > MAX_CRLS {
        return Err(Refusal::TooManyCrls { count });
    }
    let parse = |(index, der): (usize, &'c CertificateRevocationListDer<'_>)| {
        BorrowedCertRevocationList::from_der(der)
            .map(CertRevocationList::from)
            .map_err(|_| Refusal::MalformedCrl { index })
    };
    crls.iter().enumerate().map(parse).collect()
}

fn revocation<'c>(lists: &'c [&'c CertRevocationList<'c>]) -> Option<RevocationOptions<'c>> {
    let options = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build(),
    )
}

/// webpki takes a root at its word: its certificate's validity, path length and key usage are
/// not part of a trust anchor.
fn check_root(
    path: &VerifiedPath<'_>,
    bundle: &TrustBundle,
    with_crls: bool,
    now: Timestamp,
) -> Result<(), Error> {
    let root = bundle.root_of(path.anchor()).ok_or(Error::UnknownIssuer)?;
    check_root_facts(
        root,
        path.intermediate_certificates().count(),
        with_crls,
        now,
    )
}

fn check_root_facts(
    root: &Root,
    intermediates: usize,
    with_crls: bool,
    now: Timestamp,
) -> Result<(), Error> {
    if now < root.not_before || now > root.not_after {
        return Err(Error::InvalidCertValidity);
    }
    let allowed = root
        .path_len
        .map(|len| usize::try_from(len).unwrap_or(usize::MAX));
    if allowed.is_some_and(|allowed| intermediates > allowed) {
        return Err(Error::PathLenConstraintViolated);
    }
    if with_crls && !root.may_sign_crls {
        return Err(Error::IssuerNotCrlSigner);
    }
    Ok(())
}

/// Purposes were judged before, on every certificate and not only on those of one path.
#[derive(Clone, Copy, Debug)]
struct PurposesAreJudged;

impl ExtendedKeyUsageValidator for PurposesAreJudged {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

fn unix_time(now: Timestamp) -> UnixTime {
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::UnknownIssuer => Refusal::UnknownIssuer,
        Error::InvalidSignatureForPublicKey | Error::SignatureAlgorithmMismatch => {
            Refusal::BadSignature
        }
        Error::InvalidCertValidity => Refusal::RootNotValid,
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => Refusal::PathTooLong,
        Error::CertRevoked => Refusal::Revoked,
        Error::UnknownRevocationStatus => Refusal::UnknownRevocationStatus,
        Error::CrlExpired { .. } => Refusal::CrlExpired,
        Error::InvalidCrlSignatureForPublicKey | Error::IssuerNotCrlSigner => Refusal::BadCrl,
        other => Refusal::Path(other),
    }
}
