//! Certification requests, DER and PEM.

use countersign_issue::key::PublicKey;
use countersign_issue::request::Requested;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, PublicKeyData, SanType};

use super::material::KEYS;

/// Nobody certifies a key that did not sign: what is taken is one of the keys that did. The text of a
/// PEM block may change and say the same; every byte of a DER request is signed.
pub fn run(data: &[u8]) -> bool {
    let taken = Requested::read(data);
    if let Ok(requested) = &taken {
        let spki = requested.spki();
        assert!(KEYS.iter().any(|key| key.subject_public_key_info() == spki));
        assert!(PublicKey::read(spki).is_ok_and(|key| key.spki() == spki));
    }
    taken.is_ok()
}

/// Of each kind of key, with names and extensions that do not count; one of them as PEM.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = KEYS
        .iter()
        .map(|key| {
            let mut params =
                CertificateParams::new(["evil.example.org".to_owned()]).expect("a plain name");
            let id = "spiffe://example.org/admin".try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::URI(id));
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
            let request = params.serialize_request(key).expect("a plain request");
            request.der().to_vec()
        })
        .collect();
    seeds.push(pem(&seeds[0]));
    seeds
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = countersign_verify::certificate_pem(der);
    text.replace("CERTIFICATE", "CERTIFICATE REQUEST")
        .into_bytes()
}
