//! SubjectPublicKeyInfo of keys that are to be certified.

use countersign_control_plane::doors::readers;
use rcgen::PublicKeyData;

use super::material::KEYS;

/// A key has one encoding: what is taken is the bytes that came.
pub fn run(data: &[u8]) -> bool {
    let taken = readers::public_key(data);
    if let Some(spki) = &taken {
        assert_eq!(spki, data);
    }
    taken.is_some()
}

/// One of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    KEYS.iter()
        .map(PublicKeyData::subject_public_key_info)
        .collect()
}
