//! SPIFFE IDs and names of trust domains.

use countersign_model::spiffe_id::{MAX_ID_BYTES, MAX_TRUST_DOMAIN_BYTES};
use countersign_model::{SpiffeId, TrustDomain};

use super::material::{text, texts};

/// What is taken is kept byte for byte, within its bounds.
pub fn run(data: &[u8]) -> bool {
    let Some(text) = text(data) else {
        return false;
    };
    let domain = TrustDomain::new(text);
    if let Ok(domain) = &domain {
        assert_eq!(domain.as_str(), text);
        assert!(text.len() <= MAX_TRUST_DOMAIN_BYTES);
    }
    let Ok(id) = SpiffeId::new(text) else {
        return domain.is_ok();
    };
    assert_eq!(id.as_str(), text);
    assert!(text.len() <= MAX_ID_BYTES && text.is_ascii());
    let parts = format!("spiffe://{}{}", id.trust_domain().as_str(), id.path());
    assert_eq!(parts, text, "nothing lies between the parts");
    assert!(
        id.path()
            .split('/')
            .skip(1)
            .all(|it| !["", ".", ".."].contains(&it))
    );
    true
}

/// Of a workload, of a trust domain, bare, and as long as may be.
pub fn seeds() -> Vec<Vec<u8>> {
    let long = format!("spiffe://example.org/{}", "a".repeat(MAX_ID_BYTES - 21));
    texts(&[
        "spiffe://example.org/ns/web/sa/Front-End_1.2",
        "spiffe://example.org",
        "example.org",
        &long,
    ])
}
