//! Issuing: the one path from the right to a certificate to the certificate that is given.
//!
//! [`Authority::issue`] is the whole of it, one line a step:
//!
//! ```text
//! authorize → claim the key → lint, log → judge again → sign → judge again, publish
//!                                  └────────── or void ──────────┘
//! ```
//!
//! Whoever asks is an [`Applicant`], which says what differs: who may have the certificate, when a
//! key gets another one, and what publishing means. A node that enrols ([`enrolment`]) and an
//! operator who has a request signed ([`manual`]) are two. A step that fails, or an applicant that
//! goes away, leaves no claimed key and no entry of the log that is neither given nor void: the
//! [`Claim`](claim::Claim) sees to it. What has no applicant, the control plane's own certificate
//! ([`listener`]) and those of CAs, takes the lower [`steps`] alone: nobody else may ask for it.

mod applicant;
mod claim;
mod enrolment;
mod listener;
mod manual;
mod steps;
mod stripes;
mod to_its_end;

use countersign_ca::log::Logged;
use countersign_ca::sign::Signed;
use countersign_issue::profile::{Profile, Subject};
use countersign_model::SpiffeId;
use countersign_refusal::Denied;
use countersign_registry::Authorized;
use jiff::Timestamp;
use tracing::info_span;

use crate::series::Phase;
use crate::{Authority, AuthorityError};
use applicant::{Applicant, Key};
use claim::Claimed;

pub use manual::ManualCertificate;
pub(super) use steps::{damaged_entry, is_published};
pub(super) use stripes::Stripes;

impl Authority {
    /// Has a key certified for an applicant: the whole way of a certificate, its steps in order.
    /// The same key gets the same certificate again until the applicant
    /// [renews](Applicant::renews) it.
    async fn issue<A: Applicant>(
        &self,
        applicant: &A,
        key: &Key<'_>,
        now: Timestamp,
    ) -> Result<A::Given, AuthorityError> {
        let (node, entitlement) = (applicant.node(), applicant.entitlement());
        let one_at_a_time = self.enrolling.lock(node, entitlement).await;
        let authorized = self.authorize(applicant, now)?;
        let claim = match self.claim(applicant, key, &authorized, one_at_a_time, now)? {
            Claimed::Key(claim) => claim,
            Claimed::Certified(before, _one_at_a_time) => {
                return self.give_again(applicant, before, &authorized, now);
            }
            Claimed::Given(given) => return Ok(given),
        };
        let (issuer, ca) = self.issuer(Profile::Svid, now)?;
        let subject = self.subject(authorized);
        let appended = self.append_claimed(claim, subject, key.spki, issuer, now);
        let (claim, logged) = appended.await?;
        let sign_and_publish = || {
            // The right may have ended while the entry was made durable.
            let right = applicant.authorize(&self.state.read(), now)?;
            right.still_allows(logged.issuance().key_epoch)?;
            self.state
                .read()
                .keys
                .check_right(&key.sha256, &right, now)?;
            let signed = self.sign_leaf(logged, ca.as_ref())?;
            self.publish_for(applicant, signed, now)
        };
        match sign_and_publish() {
            Ok(given) => {
                claim.delivered();
                Ok(given)
            }
            Err(error) => {
                claim.void(now).await;
                Err(error)
            }
        }
    }

    fn authorize<A: Applicant>(
        &self,
        applicant: &A,
        now: Timestamp,
    ) -> Result<Authorized, AuthorityError> {
        let node = applicant.node().map(SpiffeId::as_str);
        let span = info_span!("authorize", node, entitlement = %applicant.entitlement());
        let _entered = span.enter();
        let authorize = || applicant.authorize(&self.state.read(), now);
        Ok(self.metrics.timed(Phase::Authorize, authorize)?)
    }

    /// What an authorization allows, and nothing else, as the renewal of what it had before.
    pub(super) fn subject(&self, authorized: Authorized) -> Box<Subject> {
        let newest = self.state.read().newest(&authorized);
        let subject = Subject::svid(
            authorized,
            &self.settings.times,
            self.hierarchy.refused_keys().keys(),
        );
        Box::new(subject.renewing(newest))
    }

    /// Makes a certificate visible, if the right to it still stands: judged under the lock under
    /// which it becomes part of the state, so that nothing can come between.
    #[expect(clippy::needless_pass_by_value, reason = "a proof is used once")]
    fn publish_for<A: Applicant>(
        &self,
        applicant: &A,
        signed: Signed,
        now: Timestamp,
    ) -> Result<A::Given, AuthorityError> {
        let issuance = signed.issuance();
        let span = info_span!("publish", serial = %issuance.serial);
        let _entered = span.enter();
        let above = self.above(&signed)?;
        let given = {
            let mut state = self.state.write();
            let right = applicant.authorize(&state, now)?;
            right.still_allows(issuance.key_epoch)?;
            let given = applicant.given(&signed, above, &right)?;
            state.keys.issued(issuance);
            applicant.record(&mut state, issuance, &given);
            given
        };
        self.ledger.delivered(&signed);
        applicant.tell(self, &given);
        Ok(given)
    }

    /// The same answer as at the first issuance for this key.
    fn give_again<A: Applicant>(
        &self,
        applicant: &A,
        before: Logged,
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<A::Given, AuthorityError> {
        let signed = self.issued_before(before, authorized, now)?;
        let above = self.above(&signed)?;
        applicant.given(&signed, above, authorized)
    }

    /// The certificate that a key was given before, where it still says what is allowed.
    fn issued_before(
        &self,
        logged: Logged,
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<Signed, AuthorityError> {
        self.check_clock(now)?;
        // The epoch of an entry may be above the present one: a restore took back the change that
        // raised it, and with it what the certificate says.
        let (present, then) = (authorized.key_epoch(), logged.issuance().key_epoch);
        let issuer = &logged.issuance().issuer;
        if then != Some(present) || self.is_too_early(issuer, now) {
            return Err(AuthorityError::Denied(Denied {
                code: "key_superseded",
                message: "this key was certified before its registration changed".to_owned(),
                remedy: "enrol a fresh key",
            }));
        }
        self.signed_again(logged)
    }
}
