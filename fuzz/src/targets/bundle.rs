//! Trust bundles as PEM: what a sidecar starts from, and what `verify` is given.

use countersign_verify::bundle::MAX_ROOTS;
use countersign_verify::{TrustBundle, certificate_pem};

use super::material::{CHAIN, trust_domain};

/// What is taken reads the same from what it is written as.
pub fn run(data: &[u8]) -> bool {
    let Ok(bundle) = TrustBundle::from_pem(trust_domain(), data) else {
        return false;
    };
    assert!((1..=MAX_ROOTS).contains(&bundle.roots().len()));
    let again = TrustBundle::from_pem(trust_domain(), bundle.to_pem().as_bytes());
    assert_eq!(again.expect("written by us").version(), bundle.version());
    true
}

/// One root, two blocks with blank lines between them, and what other programs write around one.
pub fn seeds() -> Vec<Vec<u8>> {
    let root = certificate_pem(&CHAIN.root);
    let issuing = certificate_pem(&CHAIN.issuing);
    vec![
        root.clone().into_bytes(),
        format!("{root}\n\n{issuing}").into_bytes(),
        format!("\u{feff}subject=root\r\n{}", root.replace('\n', "\r\n")).into_bytes(),
    ]
}
