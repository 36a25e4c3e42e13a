//! Which roots are trusted: every one whose slot says so, the active first.

use countersign_model::TrustDomain;
use countersign_verify::{BundleError, TrustBundle};
use rustls_pki_types::CertificateDer;

use super::authorities::Authorities;

/// The trust bundle of these authorities.
pub fn of(
    trust_domain: &TrustDomain,
    authorities: &Authorities,
) -> Result<TrustBundle, BundleError> {
    let roots: Vec<CertificateDer<'static>> = authorities
        .slots()
        .trusted_roots()
        .filter_map(|key_id| authorities.record(key_id))
        .map(|record| record.certificate.clone())
        .collect();
    TrustBundle::new(trust_domain.clone(), roots)
}
