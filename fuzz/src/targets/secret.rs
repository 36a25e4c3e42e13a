//! Envoy's secrets as a sidecar reads them: chains and bundles.

use countersign_envoy::{
    MAX_SECRET_BYTES, certificate_chain, read_certificate_chain, read_trusted_ca, trusted_ca,
};

use super::material::CHAIN;

/// What is taken reads the same from what it is written as.
pub fn run(data: &[u8]) -> bool {
    let (chain, roots) = (read_certificate_chain(data), read_trusted_ca(data));
    if let Ok(chain) = &chain {
        let again = read_certificate_chain(&certificate_chain("node", chain));
        assert_eq!(again.as_ref(), Ok(chain));
    }
    if let Ok(roots) = &roots {
        let again = read_trusted_ca(&trusted_ca("spiffe://example.org", roots));
        assert_eq!(again.as_ref(), Ok(roots));
    }
    let taken = chain.is_ok() || roots.is_ok();
    assert!(!taken || data.len() <= MAX_SECRET_BYTES);
    taken
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let chain = [CHAIN.leaf.clone(), CHAIN.issuing.clone()];
    vec![
        certificate_chain("node", &chain).to_vec(),
        trusted_ca("spiffe://example.org", &chain[1..]).to_vec(),
    ]
}
