//! SubjectPublicKeyInfo of keys that are to be certified.

use countersign_issue::key::PublicKey;
use rcgen::PublicKeyData;

use super::material::KEYS;

/// A key has one encoding: what is taken is the bytes that came.
pub fn run(data: &[u8]) -> bool {
    let taken = PublicKey::read(data);
    if let Ok(key) = &taken {
        assert_eq!(key.spki(), data);
    }
    taken.is_ok()
}

/// One of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    KEYS.iter()
        .map(PublicKeyData::subject_public_key_info)
        .collect()
}
