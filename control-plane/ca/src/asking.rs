//! The request of a replica to have its issuing CA certified by the one that has the key of root or
//! intermediate.
//!
//! It is signed with the key that it is about, as proof that the replica holds it: nobody gets another's
//! key certified under a name of his own. The signed text begins with its own name, and every part has
//! its length before it. [`super::sign`] says why it can never pass for a certificate.

use countersign_model::TrustDomain;
use countersign_verify::proof::{self, ProofError};
use jiff::Timestamp;

use super::key::{CaKey, KeyError, ToBeSigned};

/// Tells this signature from every other that a key of ours makes.
const CONTEXT: &[u8] = b"countersign issuing CA request v1\0";
/// The scheme of CA keys: `ecdsa_secp256r1_sha256` (RFC 8446 section 4.2.3).
const ECDSA_P256: u16 = 0x0403;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Ours.
    pub trust_domain: &'a TrustDomain,
    /// The replica that asks.
    pub replica: &'a str,
    /// Key id of the CA that shall sign.
    pub parent: &'a str,
    /// SubjectPublicKeyInfo of the key, DER.
    pub spki: &'a [u8],
    /// When.
    pub at: Timestamp,
}

impl Asked<'_> {
    /// Proves that the key is held.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn prove(&self, key: &dyn CaKey) -> Result<Vec<u8>, KeyError> {
        key.sign(&ToBeSigned::new(&self.text()))
    }

    /// Checks such a proof.
    ///
    /// # Errors
    /// It is of something else, or the key is none of a CA.
    pub fn check(&self, proof: &[u8]) -> Result<(), ProofError> {
        proof::verify(self.spki, ECDSA_P256, proof, &self.text())
    }

    fn text(&self) -> Vec<u8> {
        let at = self.at.to_string();
        let parts = [
            self.trust_domain.as_str().as_bytes(),
            self.replica.as_bytes(),
            self.parent.as_bytes(),
            at.as_bytes(),
            self.spki,
        ];
        let mut text = CONTEXT.to_vec();
        for part in parts {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            text.extend(length.to_be_bytes());
            text.extend(part);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey};
    use x509_parser::certificate::TbsCertificate;
    use x509_parser::certification_request::X509CertificationRequestInfo;
    use x509_parser::prelude::FromDer;

    use super::*;

    #[derive(Debug)]
    struct Key(KeyPair, Vec<u8>);

    impl Key {
        fn new() -> Self {
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            let spki = pair.subject_public_key_info();
            Self(pair, spki)
        }
    }

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
    fn proof_is_of_everything_that_is_asked() {
        let (key, other) = (Key::new(), Key::new());
        let domains = ["example.org", "example.com"].map(|name| TrustDomain::new(name).unwrap());
        let asked = Asked {
            trust_domain: &domains[0],
            replica: "b",
            parent: "aa",
            spki: key.spki(),
            at: Timestamp::from_second(1_800_000_000).unwrap(),
        };
        let proof = asked.prove(&key).unwrap();
        asked.check(&proof).unwrap();
        let others = [
            Asked {
                trust_domain: &domains[1],
                ..asked
            },
            Asked {
                replica: "c",
                ..asked
            },
            Asked {
                parent: "ab",
                ..asked
            },
            // The same bytes, divided in another way.
            Asked {
                replica: "ba",
                parent: "a",
                ..asked
            },
            Asked {
                spki: other.spki(),
                ..asked
            },
            Asked {
                at: Timestamp::from_second(1_800_000_001).unwrap(),
                ..asked
            },
        ];
        for other in others {
            assert!(other.check(&proof).is_err(), "{other:?}");
        }
        let by_another = asked.prove(&other).unwrap();
        assert!(asked.check(&by_another).is_err());
        for index in 0..proof.len() {
            let mut flipped = proof.clone();
            flipped[index] ^= 1;
            assert!(asked.check(&flipped).is_err(), "{index}");
        }
    }

    #[test]
    fn proof_is_never_a_certificate() {
        let key = Key::new();
        let asked = Asked {
            trust_domain: &TrustDomain::new("example.org").unwrap(),
            replica: "b",
            parent: "aa",
            spki: key.spki(),
            at: Timestamp::UNIX_EPOCH,
        };
        let text = asked.text();
        assert_ne!(text[0], 0x30, "no SEQUENCE");
        assert!(TbsCertificate::from_der(&text).is_err());
        assert!(X509CertificationRequestInfo::from_der(&text).is_err());
    }
}
