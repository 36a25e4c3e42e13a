//! Proofs of possession: scheme in two bytes, length of the key in two, key, signature.

use countersign_verify::proof;
use rcgen::{PublicKeyData, SigningKey};

use super::material::KEYS;

const EXPORTER: [u8; 32] = [7; 32];
const ENTITLEMENT: &str = "node";
/// Schemes of [`KEYS`] (RFC 8446 section 4.2.3).
const SCHEMES: [u16; 3] = [0x0403, 0x0503, 0x0401];

/// Only who holds the key has proved it: no change of a proof is another one of a key of ours.
pub fn run(data: &[u8]) -> bool {
    let Some((scheme, spki, signature)) = split(data) else {
        return false;
    };
    let message = proof::message(&EXPORTER, ENTITLEMENT, spki);
    let is_good = proof::verify(spki, scheme, signature, &message).is_ok();
    assert!(!is_good || KEYS.iter().any(|key| key.subject_public_key_info() == spki));
    is_good
}

fn split(data: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (scheme, rest) = data.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (spki, signature) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((u16::from_be_bytes(*scheme), spki, signature))
}

/// One of each kind of key.
pub fn seeds() -> Vec<Vec<u8>> {
    let proofs = KEYS.iter().zip(SCHEMES).map(|(key, scheme)| {
        let spki = key.subject_public_key_info();
        let message = proof::message(&EXPORTER, ENTITLEMENT, &spki);
        let signature = key.sign(&message).expect("our key signs");
        let length = u16::try_from(spki.len()).expect("a key is short");
        [
            &scheme.to_be_bytes()[..],
            &length.to_be_bytes(),
            &spki,
            &signature,
        ]
        .concat()
    });
    proofs.collect()
}
