//! What a foreign root answers to our request: a zero and our intermediate, or a one and the root.

use std::sync::LazyLock;

use countersign_ca::import::{Expected, judge};
use countersign_model::TrustDomain;
use rcgen::{CertifiedIssuer, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;

use super::material::{KEYS, authority, now};

const NAME: &str = "Countersign Sub CA 0123";

/// Intermediate and root.
static ANSWER: LazyLock<[Vec<u8>; 2]> =
    LazyLock::new(|| answer().expect("a plain answer can be made"));

fn answer() -> Result<[Vec<u8>; 2], rcgen::Error> {
    let root = CertifiedIssuer::self_signed(authority("ACME", 2)?, KeyPair::generate()?)?;
    let intermediate = authority(NAME, 1)?.signed_by(&KEYS[0], &root)?;
    Ok([intermediate.der().to_vec(), root.der().to_vec()])
}

/// What is taken is what the root signed, itself included.
pub fn run(data: &[u8]) -> bool {
    let Some((place, der)) = data.split_first() else {
        return false;
    };
    let (intermediate, root) = match place {
        0 => (der, &ANSWER[1][..]),
        1 => (&ANSWER[0][..], der),
        _ => return false,
    };
    let spki = KEYS[0].subject_public_key_info();
    let trust_domain = TrustDomain::new("example.org").expect("a name of ours");
    let expected = Expected {
        spki: &spki,
        common_name: NAME,
        trust_domain: &trust_domain,
        needed_until: now(),
        now: now(),
    };
    let certificate = |der: &[u8]| CertificateDer::from(der.to_vec());
    let judged = judge(&[certificate(intermediate)], &certificate(root), &expected);
    let is_taken = judged.is_ok();
    assert!(!is_taken || [intermediate, root] == [&ANSWER[0][..], &ANSWER[1]]);
    is_taken
}

/// Both.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..)
        .zip(ANSWER.iter())
        .map(|(place, der): (u8, _)| [&[place], &der[..]].concat())
        .collect()
}
