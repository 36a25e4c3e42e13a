//! The file with which a control plane joins those of a database.

use countersign_authority::{Invitation, check_name};
use countersign_model::TrustDomain;

use super::material::texts;

/// Whoever is named in one has a name, its secret is not told, and it is read again from what it writes.
pub fn run(data: &[u8]) -> bool {
    let Ok(Ok(invitation)) = std::str::from_utf8(data).map(Invitation::parse) else {
        return false;
    };
    check_name(invitation.replica()).expect("a control plane has a name");
    TrustDomain::new(invitation.trust_domain()).expect("so has a trust domain");
    let text = invitation.to_text();
    let read: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let secret = read["secret"].as_str().expect("it has a secret");
    assert!(!format!("{invitation:?}").contains(secret));
    assert_eq!(Invitation::parse(&text), Ok(invitation));
    true
}

/// As `countersign replica invite` writes it, and by hand.
pub fn seeds() -> Vec<Vec<u8>> {
    let secret = "0a1b".repeat(16);
    texts(&[
        &format!(r#"{{"trust_domain":"example.org","replica":"b","secret":"{secret}"}}"#),
        &format!(
            "{{ \"secret\": \"{secret}\",\n  \"replica\": \"cp-2\", \"trust_domain\": \"a\" }}\n"
        ),
    ])
}
