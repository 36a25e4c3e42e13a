//! Every rule, broken alone, is caught by its name: in bytes that were changed after they were
//! built, or in good bytes that are judged against another intent.

mod bytes;
mod documentation;
mod intent;

use jiff::Timestamp;
use rcgen::CertificateParams;

use super::*;
use crate::profile::Profile;
use crate::tests::{fresh_key, issuer, now, subject};
use crate::{lifetime, template};

/// What was meant, so that a test can change it before or after the bytes are built.
struct Intent {
    subject: Subject,
    issuer: Issuer,
    key: PublicKey,
    lifetime: Lifetime,
    serial: Serial,
}

impl Intent {
    fn new(profile: Profile) -> Self {
        let (subject, issuer) = (subject(profile), issuer());
        Self {
            lifetime: lifetime(&subject, &issuer, now()).unwrap(),
            serial: Serial::new(0x01_0000, 7, [1; 8]).unwrap(),
            key: fresh_key(),
            subject,
            issuer,
        }
    }

    fn params(&self) -> CertificateParams {
        template::params(
            &self.subject,
            &self.key,
            self.serial,
            &self.issuer,
            &self.lifetime,
        )
        .unwrap()
    }

    fn seal(&self, params: &CertificateParams) -> Vec<u8> {
        template::seal(params, &self.key, &self.issuer).unwrap()
    }

    /// The rule that these bytes break.
    fn judge(&self, tbs: &[u8]) -> Option<&'static str> {
        let candidate = Candidate {
            subject: &self.subject,
            key: &self.key,
            issuer: &self.issuer,
            lifetime: &self.lifetime,
            serial: self.serial,
        };
        check(tbs, &candidate).err().map(|finding| finding.rule)
    }
}

/// The rule that a certificate breaks whose parameters were changed before it was built.
fn defect(profile: Profile, change: impl FnOnce(&mut CertificateParams)) -> Option<&'static str> {
    let intent = Intent::new(profile);
    let mut params = intent.params();
    change(&mut params);
    intent.judge(&intent.seal(&params))
}

fn at(time: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap()
}

#[test]
fn certificate_of_every_profile_passes() {
    for profile in Profile::ALL {
        assert_eq!(defect(profile, |_| ()), None, "{profile:?}");
    }
}

#[test]
fn names_of_rules_are_unique() {
    let mut names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), RULES.len());
}
