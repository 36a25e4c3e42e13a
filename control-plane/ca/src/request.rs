//! The request for an intermediate's certificate (PKCS#10, RFC 2986), to a root that is not ours.
//!
//! It is signed with the key that it is about, as proof that we hold it. [`super::sign`] says why
//! that signature can never be one under a certificate.

use std::sync::Mutex;

use countersign_issue::profile::{Profile, Tier, ca_name, distinguished_name};
use countersign_model::TrustDomain;
use rcgen::{
    CertificateParams, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
    SigningKey,
};

use super::der::P256_POINT_BYTES;
use super::key::{CaKey, KeyError, ToBeSigned};

/// The request, PEM: subject, SPIFFE ID of the trust domain, path length and key usage as an
/// intermediate of ours has them.
pub fn pem(key: &dyn CaKey, trust_domain: &TrustDomain) -> Result<String, KeyError> {
    let name = ca_name(Tier::Intermediate, key.key_id());
    let profile = Profile::Intermediate;
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(Some(&name));
    params.subject_alt_names = vec![SanType::URI(trust_domain.id().as_str().try_into()?)];
    params.is_ca = profile.basic_constraints();
    params.key_usages = profile.shape().key_usages.to_vec();
    let requester = Requester {
        key,
        failure: Mutex::default(),
    };
    let request = params.serialize_request(&requester);
    // What the key store said, rather than that something failed in it.
    let failure = requester.failure.into_inner();
    if let Ok(Some(failure)) = failure {
        return Err(failure);
    }
    Ok(request?.pem()?)
}

/// A key of ours as the library wants it.
struct Requester<'k> {
    key: &'k dyn CaKey,
    failure: Mutex<Option<KeyError>>,
}

impl PublicKeyData for Requester<'_> {
    fn der_bytes(&self) -> &[u8] {
        let spki = self.key.spki();
        &spki[spki.len().saturating_sub(P256_POINT_BYTES)..]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Requester<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(&ToBeSigned::new(message)).map_err(|failure| {
            *self.failure.lock().expect("no writer panicked") = Some(failure);
            rcgen::Error::RemoteKeyError
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;
    use x509_parser::certificate::TbsCertificate;
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer;

    use super::*;
    #[derive(Debug)]
    struct Key(KeyPair, Vec<u8>);

    impl CaKey for Key {
        fn key_id(&self) -> &'static str {
            "0123456789abcdef"
        }
        fn spki(&self) -> &[u8] {
            &self.1
        }
        fn sign(&self, message: &ToBeSigned) -> Result<Vec<u8>, KeyError> {
            Ok(self.0.sign(message.as_bytes())?)
        }
    }

    #[test]
    fn request_is_never_a_certificate() {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let spki = pair.subject_public_key_info();
        let key = Key(pair, spki);
        let domain = TrustDomain::new("example.org").unwrap();
        let pem = pem(&key, &domain).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        let (rest, request) = X509CertificationRequest::from_der(&block.contents).unwrap();
        assert!(rest.is_empty());
        let info = &request.certification_request_info;
        assert_eq!(info.subject_pki.raw, key.spki());
        assert!(TbsCertificate::from_der(info.raw).is_err());
    }
}
