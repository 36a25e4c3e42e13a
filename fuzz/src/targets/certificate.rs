//! Certificates of peers and of roots.

use countersign_verify::{TrustBundle, verify_svid};
use rustls_pki_types::CertificateDer;

use super::material::{BUNDLES, CHAIN, now, trust_domain};

/// No change makes another identity: a leaf that is accepted is the one that was signed, whichever
/// place of the chain it stands in.
pub fn run(data: &[u8]) -> bool {
    let changed = CertificateDer::from(data);
    let as_leaf = verify_svid(
        &[changed.clone(), CHAIN.issuing.clone()],
        &BUNDLES,
        &[],
        now(),
    );
    if let Ok(svid) = &as_leaf {
        assert_eq!(svid.id.as_str(), "spiffe://example.org/web");
        assert_eq!(changed, CHAIN.leaf);
    }
    let as_issuer = verify_svid(&[CHAIN.leaf.clone(), changed.clone()], &BUNDLES, &[], now());
    if as_issuer.is_ok() {
        assert_eq!(changed, CHAIN.issuing);
    }
    // As a root nothing has vouched for it: reading it is all.
    let as_root = TrustBundle::new(trust_domain(), vec![changed.into_owned()]);
    as_leaf.is_ok() || as_issuer.is_ok() || as_root.is_ok()
}

/// One of each place of a chain.
pub fn seeds() -> Vec<Vec<u8>> {
    [&CHAIN.leaf, &CHAIN.issuing, &CHAIN.root]
        .map(|der| der.to_vec())
        .to_vec()
}
