//! The key is the proven one, of an accepted kind, and none of our CAs' own
//! (RFC 5480, RFC 3279; P-256, P-384, RSA from 2048 to 8192 bits).

use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use x509_parser::certificate::TbsCertificate;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509;

use super::{Candidate, Finding, require};
use crate::ca::keys::key_id;

const RULE: &str = "key";
const SECTION: &str = "RFC 5280 section 4.1.2.7";
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Reads a SubjectPublicKeyInfo. What it encodes again is byte-equal to what was read.
pub(in crate::issue) fn parse(spki: &[u8]) -> Result<SubjectPublicKeyInfo, Finding> {
    let unreadable = Finding {
        rule: RULE,
        problem: "the key is not a SubjectPublicKeyInfo of a known kind",
        section: SECTION,
    };
    let key = SubjectPublicKeyInfo::from_der(spki).map_err(|_| unreadable.clone())?;
    let canonical = key.subject_public_key_info() == spki;
    if canonical { Ok(key) } else { Err(unreadable) }
}

pub(super) fn check(tbs: &TbsCertificate<'_>, candidate: &Candidate<'_>) -> Result<(), Finding> {
    require(
        tbs.public_key().raw == candidate.spki,
        RULE,
        "the certificate holds another key than the proven one",
        SECTION,
    )?;
    require(
        is_accepted(tbs.public_key()),
        RULE,
        "a key is ECDSA P-256 or P-384, or RSA with 2048 to 8192 bits",
        SECTION,
    )?;
    let id = key_id(candidate.spki);
    require(
        !candidate.subject.foreign_keys.contains(&id),
        "key_of_a_ca",
        "the key is that of a CA",
        "X509-SVID.md section 4.1",
    )
}

fn is_accepted(key: &x509::SubjectPublicKeyInfo<'_>) -> bool {
    let kind = &key.algorithm.algorithm;
    let curve = key
        .algorithm
        .parameters
        .as_ref()
        .and_then(|curve| curve.as_oid().ok());
    match key.parsed() {
        Ok(PublicKey::EC(_)) => {
            *kind == OID_KEY_TYPE_EC_PUBLIC_KEY
                && curve.is_some_and(|curve| curve == OID_EC_P256 || curve == OID_NIST_EC_P384)
        }
        Ok(PublicKey::RSA(rsa)) => {
            let odd = rsa.exponent.last().is_some_and(|byte| byte & 1 == 1);
            *kind == OID_PKCS1_RSAENCRYPTION && odd && RSA_BITS.contains(&rsa.key_size())
        }
        _ => false,
    }
}
