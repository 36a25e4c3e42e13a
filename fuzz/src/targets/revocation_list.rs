//! Certificate revocation lists, as `verify` is given them.

use countersign_verify::verify_svid;
use rustls_pki_types::CertificateRevocationListDer;

use super::material::{BUNDLES, CHAIN, now};

/// In the place of either list: only the one that was signed lets the chain pass.
pub fn run(data: &[u8]) -> bool {
    let chain = [CHAIN.leaf.clone(), CHAIN.issuing.clone()];
    let taken = [0, 1].map(|place| {
        let mut lists = CHAIN.revocations.clone();
        lists[place] = CertificateRevocationListDer::from(data.to_vec());
        let is_good = verify_svid(&chain, &BUNDLES, &lists, now()).is_ok();
        assert!(!is_good || lists == CHAIN.revocations);
        is_good
    });
    taken.contains(&true)
}

/// One of each CA.
pub fn seeds() -> Vec<Vec<u8>> {
    CHAIN.revocations.iter().map(|list| list.to_vec()).collect()
}
