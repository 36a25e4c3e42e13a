//! What stands before a costly call: how pressing an enrolment is, and the answer to who must come
//! back later.

use std::time::Duration;

use countersign_admission::{Class, LATEST_RETRY, Refused};
use countersign_model::{EntitlementId, Lifetime};
use countersign_proto::RETRY_PUSHBACK;
use countersign_refusal::Denied;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tonic::Status;
use tonic::metadata::MetadataValue;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::session::Session;
use crate::plane::Plane;
use countersign_authority::AuthorityError;

/// With less than this share of its lifetime left a certificate no longer counts as one to fall
/// back on.
const URGENT_BELOW: f64 = 0.25;

/// How pressing the enrolment of this key is.
pub(super) fn class(
    plane: &Plane,
    session: &Session,
    entitlement: &EntitlementId,
    spki: &[u8],
) -> Class {
    let published = plane.authority.published(session.node.id(), entitlement);
    match published {
        Some(svid) if can_wait(&svid.chain(), &svid.lifetime, spki, plane.clock.now()) => {
            Class::Renewal
        }
        _ => Class::First,
    }
}

/// Whether a good certificate can be used meanwhile. A key that is certified already only waits
/// for its answer, which costs no signature: it goes first.
fn can_wait(chain: &[CertificateDer<'_>], life: &Lifetime, spki: &[u8], now: Timestamp) -> bool {
    let is_good = life.remaining(now) >= life.length().mul_f64(URGENT_BELOW);
    is_good && !certifies(chain, spki)
}

fn certifies(chain: &[CertificateDer<'_>], spki: &[u8]) -> bool {
    let parsed = chain
        .first()
        .and_then(|leaf| X509Certificate::from_der(leaf).ok());
    parsed.is_some_and(|(_, leaf)| leaf.public_key().raw == spki)
}

/// RESOURCE_EXHAUSTED, with the time after which it is worth trying again.
pub(super) fn come_back_later(refused: &Refused) -> Status {
    exhausted(refused.to_string(), refused.retry_after)
}

/// The same where tables are full: places come free as certificates end, not soon. Where one share
/// is taken no time is told: a sidecar keeps it for all that it enrols, and nothing is wrong with
/// the rest.
pub(super) fn come_back_much_later(full: &AuthorityError) -> Status {
    match full {
        AuthorityError::KeyShareTaken { .. } => Status::resource_exhausted(full.to_string()),
        _ => exhausted(full.to_string(), LATEST_RETRY),
    }
}

fn exhausted(message: String, retry_after: Duration) -> Status {
    let mut status = Status::resource_exhausted(message);
    let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    let metadata = status.metadata_mut();
    metadata.insert(RETRY_PUSHBACK, MetadataValue::from(millis));
    status
}

/// What the issuance log is told of it.
pub(super) fn no_room(full: &AuthorityError) -> Denied {
    let (code, remedy) = match full {
        AuthorityError::KeyShareTaken { .. } => (
            "key_share_taken",
            "find out why this entitlement is enrolled again and again; wait until its \
             certificates have ended",
        ),
        _ => (
            "too_many_keys",
            "wait until certificates have ended; shorten their lifetimes, or lower \
             admission.rate_per_caller",
        ),
    };
    Denied {
        code,
        message: full.to_string(),
        remedy,
    }
}

#[cfg(test)]
mod tests {
    use countersign_admission::Reason;
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Whether a key waits where one with a certificate from 0 s to 100 s is there.
    fn waits(held: &KeyPair, key: &KeyPair, now: Timestamp) -> bool {
        let certificate = CertificateParams::default().self_signed(held).unwrap();
        let life = Lifetime {
            issued_at: at(0),
            not_after: at(100),
        };
        let spki = key.subject_public_key_info();
        can_wait(&[certificate.der().clone()], &life, &spki, now)
    }

    #[test]
    fn a_renewal_waits_while_the_old_certificate_is_good() {
        let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        assert!(waits(&old, &new, at(45)));
        assert!(waits(&old, &new, at(75)));
        assert!(!waits(&old, &new, at(76)), "near its end");
        assert!(!waits(&old, &new, at(200)), "expired");
    }

    #[test]
    fn a_key_that_is_certified_already_goes_first() {
        let key = KeyPair::generate().unwrap();
        assert!(!waits(&key, &key, at(1)));
    }

    #[test]
    fn the_answer_says_when_to_come_back() {
        let refused = Refused {
            reason: Reason::Rate,
            retry_after: Duration::from_millis(1_500),
        };
        let status = come_back_later(&refused);
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.metadata().get(RETRY_PUSHBACK).unwrap(), "1500");
        assert!(status.message().contains("1500 ms"), "{status}");
    }

    #[test]
    fn full_table_is_asked_again_late_and_a_taken_share_stalls_no_other() {
        for (full, code, says, asked) in [
            (
                AuthorityError::TooManyKeys { most: 7 },
                "too_many_keys",
                "7 keys are certified",
                Some("10000"),
            ),
            (
                AuthorityError::KeyShareTaken { most: 7 },
                "key_share_taken",
                "7 keys of this entitlement",
                None,
            ),
        ] {
            let status = come_back_much_later(&full);
            assert_eq!(status.code(), tonic::Code::ResourceExhausted);
            let told = status.metadata().get(RETRY_PUSHBACK);
            assert_eq!(told.map(|told| told.to_str().unwrap()), asked);
            assert!(status.message().starts_with(says), "{status}");
            assert_eq!(no_room(&full).code, code, "as the log is told");
        }
    }
}
