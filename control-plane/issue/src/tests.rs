//! What may be prepared, and what is refused before anything is built.

use std::time::Duration;

use countersign_model::{SpiffeId, TrustDomain};
use jiff::SignedDuration;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

use super::profile::{Profile, ProfileTimes, ca_name};
use super::*;
use crate::key::key_id;
use crate::profile::Tier;

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// A subject of any profile.
pub(super) fn subject(profile: Profile) -> Subject {
    let domain = TrustDomain::new("example.org").unwrap();
    let times = ProfileTimes::default();
    let mut subject = Subject::server(&domain, Duration::from_secs(600), &times);
    subject.profile = profile;
    subject.times = times.of(profile);
    if profile.is_ca() {
        subject.id = domain.id();
        subject.common_name = Some(ca_name(Tier::Issuing, &key_id(b"subject")));
    } else {
        subject.id = SpiffeId::new("spiffe://example.org/web").unwrap();
        subject.dns = vec!["web.local".to_owned(), "web".to_owned()];
    }
    subject
}

pub(super) fn issuer() -> Issuer {
    let hours = SignedDuration::from_hours(3);
    Issuer {
        key_id: key_id(b"issuer"),
        key_identifier: key_id(b"issuer"),
        common_name: ca_name(Tier::Issuing, &key_id(b"issuer")),
        not_before: now() - hours,
        not_after: now() + hours,
    }
}

pub(super) fn fresh_key() -> PublicKey {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    PublicKey::read(&pair.subject_public_key_info()).unwrap()
}

#[test]
fn lifetime_ends_with_its_issuer() {
    let mut issuer = issuer();
    issuer.not_after = now() + SignedDuration::from_secs(20);
    let granted = lifetime(&subject(Profile::Svid), &issuer, now()).unwrap();
    assert_eq!(granted.not_after, issuer.not_after);
}

#[test]
fn no_life_is_shorter_than_the_floor() {
    let mut issuer = issuer();
    issuer.not_after = now() + SignedDuration::from_secs(19);
    let refused = lifetime(&subject(Profile::Svid), &issuer, now());
    assert!(matches!(refused, Err(PrepareError::IssuerExpired)));
    issuer.not_after = now() - SignedDuration::from_secs(19);
    let refused = lifetime(&subject(Profile::Svid), &issuer, now());
    assert!(matches!(refused, Err(PrepareError::IssuerExpired)));
}

#[test]
fn asked_lifetime_outside_the_bounds_is_refused() {
    let mut subject = subject(Profile::Svid);
    for secs in [0, 19, 86_401] {
        subject.ttl = Duration::from_secs(secs);
        let refused = lifetime(&subject, &issuer(), now());
        assert!(
            matches!(&refused, Err(PrepareError::Refused(finding)) if finding.rule == "ttl"),
            "{secs}: {refused:?}"
        );
    }
    subject.ttl = Duration::from_secs(20);
    assert!(lifetime(&subject, &issuer(), now()).is_ok());
}

#[test]
fn not_before_lies_back_as_set() {
    let mut subject = subject(Profile::Svid);
    let mut issuer = issuer();
    let back = |secs| now() - SignedDuration::from_secs(secs);
    assert_eq!(not_before(&subject, now(), &issuer), back(60));
    subject.times.backdate = Duration::ZERO;
    assert_eq!(not_before(&subject, now(), &issuer), now());
    subject.times = ProfileTimes::default().of(Profile::Issuing);
    assert_eq!(not_before(&subject, now(), &issuer), back(3_600));
    issuer.not_before = back(10);
    assert_eq!(not_before(&subject, now(), &issuer), back(10));
}

#[test]
fn an_operator_narrows_and_never_widens() {
    let times = ProfileTimes {
        svid_max_ttl: Duration::from_secs(3_600),
        ..ProfileTimes::default()
    };
    let hour = Duration::from_secs(3_600);
    assert!(times.of(Profile::Svid).allow(hour).is_ok());
    assert!(times.of(Profile::Svid).allow(2 * hour).is_err());
    assert!(times.of(Profile::Server).allow(2 * hour).is_ok());
    assert!(times.of(Profile::Root).allow(24 * 3_650 * hour).is_ok());
}
