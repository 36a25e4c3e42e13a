use std::time::Duration;

use countersign_issue::key::{PublicKey, key_id};
use countersign_issue::prepare;
use countersign_issue::profile::{Issuer, ProfileTimes, Subject};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

use super::*;

#[derive(Debug)]
struct Eights;

impl Entropy for Eights {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        bytes.fill(8);
        Ok(())
    }
}

#[tokio::test]
async fn log_refuses_what_was_prepared_for_another_place() {
    let folder = tempfile::tempdir().unwrap();
    let domain = TrustDomain::new("example.org").unwrap();
    let log = Log::open(0x01_0000, &domain, folder.path(), Arc::new(Eights)).unwrap();
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let key = PublicKey::read(&pair.subject_public_key_info()).unwrap();
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let issuer = Issuer {
        key_id: key_id(b"issuer"),
        key_identifier: key_id(b"issuer"),
        common_name: "issuer".to_owned(),
        not_before: now - Duration::from_secs(3_600),
        not_after: now + Duration::from_secs(3_600),
    };
    let linted = |serial| {
        let ttl = Duration::from_secs(600);
        let subject = Subject::server(&domain, ttl, &ProfileTimes::default());
        prepare(subject, &key, serial, &issuer, now)
    };
    let of = |index| Serial::new(0x01_0000, index, [7; 8]).unwrap();
    // The same index: a serial is its random part as well.
    for other in [of(0), of(1)] {
        let refused = log.append(|_| linted(other)).await;
        let refused = refused.expect_err("it has another serial");
        assert!(matches!(refused, AppendError::Made(NotLogged::OtherSerial)));
        assert_eq!(log.size(), 0, "nothing is in the log");
    }
    let logged = log.append(linted).await.unwrap();
    assert_eq!(logged.issuance().serial.index(), 0);
}
