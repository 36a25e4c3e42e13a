//! Enrolment: the keys of one call, each judged, certified and answered by itself.

use std::sync::Arc;

use countersign_admission::{Caller, Permit, Refused};
use countersign_model::{EntitlementId, Lifetime};
use countersign_proto::MAX_ENROLMENTS;
use countersign_proto::convert::enrol::answer;
use countersign_proto::convert::serial_bytes;
use countersign_proto::convert::time::timestamp;
use countersign_proto::mesh::{EnrolAnswer, Enrolled, Enrolment, KeyProof};
use countersign_refusal::{Denied, Unavailable};
use countersign_telemetry::{Principal, peer_line};
use countersign_verify::proof::{MAX_SIGNATURE_BYTES, MAX_SPKI_BYTES, ProofError};
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::Status;
use tracing::Instrument;

use super::admitting::{class, come_back_later, come_back_much_later, no_room};
use super::attestation::proven_key;
use super::session::{Session, Sessions};
use super::status;
use crate::plane::Plane;
use crate::telemetry::Outcome;
use countersign_authority::series::Phase;
use countersign_authority::{AuthorityError, PublishedSvid};

/// Has the keys of nodes certified.
#[derive(Clone, Debug)]
pub(super) struct Enroller {
    plane: Arc<Plane>,
    sessions: Arc<Sessions>,
}

impl Enroller {
    pub(super) fn new(plane: Arc<Plane>, sessions: Arc<Sessions>) -> Self {
        Self { plane, sessions }
    }

    /// Certifies the keys of one call. Each takes a place of its own at the gate, so that many in
    /// one call have no advantage over many calls; one that is refused harms no other.
    ///
    /// # Errors
    /// None, or more than one call may have.
    pub(super) async fn enrol(
        &self,
        session: Session,
        enrolments: Vec<Enrolment>,
    ) -> Result<Vec<EnrolAnswer>, Status> {
        let count = enrolments.len();
        if !(1..=MAX_ENROLMENTS).contains(&count) {
            return Err(Status::invalid_argument(format!(
                "a call enrols 1 to {MAX_ENROLMENTS} keys, this one has {count}"
            )));
        }
        let enrolments = enrolments.into_iter();
        let outcomes = enrolments.map(|enrolment| self.enrol_one(&session, enrolment));
        let outcomes = join_all(outcomes).await;
        Ok(outcomes.into_iter().map(answer).collect())
    }

    async fn enrol_one(&self, session: &Session, enrolment: Enrolment) -> Result<Enrolled, Status> {
        let entitlement = EntitlementId::parse(&enrolment.entitlement)
            .ok_or_else(|| Status::invalid_argument("not the name of an entitlement"))?;
        let key = enrolment
            .key
            .ok_or_else(|| Status::invalid_argument("no key proof"))?;
        // Before it waits at the gate: what waits must be small.
        if key.spki.len() > MAX_SPKI_BYTES || key.signature.len() > MAX_SIGNATURE_BYTES {
            return Err(Status::invalid_argument(ProofError::TooLarge.to_string()));
        }
        let permit = self.admit(session, &entitlement, &key).await?;
        let started = Instant::now();
        let certified = self.certify_to_the_end(permit, session, entitlement, key);
        let certified = certified.await.unwrap_or_else(|error| {
            let error = error.to_string();
            Err(Unavailable::retry(error).into())
        });
        let svid = certified.map_err(|error| self.refuse(session, &error))?;
        self.plane.metrics.enrolled(Outcome::Granted);
        let metrics = self.plane.authority.metrics();
        metrics.took(Phase::Enrol, started.elapsed());
        let Lifetime {
            issued_at,
            not_after,
        } = svid.lifetime;
        // The record of it is in the issuance log.
        tracing::debug!(
            node = %svid.node,
            spiffe_id = %svid.id,
            serial = %svid.serial,
            %issued_at,
            %not_after,
            "certificate issued",
        );
        Ok(Enrolled {
            serial: serial_bytes(&svid.serial),
            issued_at: Some(timestamp(issued_at)),
            not_after: Some(timestamp(not_after)),
        })
    }

    /// Keeps the place until the work is done, also where the caller hangs up: who calls and hangs
    /// up again and again must not have more done at once than others.
    fn certify_to_the_end(
        &self,
        permit: Permit<Caller>,
        session: &Session,
        entitlement: EntitlementId,
        key: KeyProof,
    ) -> JoinHandle<Result<Arc<PublishedSvid>, AuthorityError>> {
        let span = tracing::info_span!("enrol", node = %session.node.id(), %entitlement);
        let (service, session) = (self.clone(), session.clone());
        let certify = async move {
            let _place = permit;
            service.certify(&session, &entitlement, &key).await
        };
        tokio::spawn(certify.instrument(span))
    }

    /// Runs in a task of its own: it must not be abandoned in the middle.
    async fn certify(
        &self,
        session: &Session,
        entitlement: &EntitlementId,
        key: &KeyProof,
    ) -> Result<Arc<PublishedSvid>, AuthorityError> {
        let proven = proven_key(key, &session.exporter, entitlement)?;
        let now = self.plane.clock.now();
        let authority = &self.plane.authority;
        let enrolled = authority.enrol_unabandoned(&session.node, entitlement, &proven, now);
        let svid = enrolled.await?;
        if *entitlement == EntitlementId::node() {
            let spki_sha256 = Sha256::digest(&key.spki).into();
            self.sessions
                .renew(session, spki_sha256, svid.lifetime.not_after);
        }
        Ok(svid)
    }

    /// Waits for a place among the enrolments that run, before anything costly is done.
    async fn admit(
        &self,
        session: &Session,
        entitlement: &EntitlementId,
        key: &KeyProof,
    ) -> Result<Permit<Caller>, Status> {
        let caller = Caller::Node(session.node.id().clone());
        let class = || class(&self.plane, session, entitlement, &key.spki);
        let admitted = self.plane.signing.enter(&caller, class).await;
        admitted.map_err(|refused| self.send_away(session, &refused))
    }

    fn send_away(&self, session: &Session, refused: &Refused) -> Status {
        self.count_refusal(session, &Denied::from(refused));
        come_back_later(refused)
    }

    /// Not a line for each: a flood of calls would be a flood of lines. The log counts them.
    fn count_refusal(&self, session: &Session, denied: &Denied) {
        self.plane.metrics.enrolled(Outcome::Refused);
        let (caller, now) = (session.node.id().as_str(), self.plane.clock.now());
        self.plane.authority.refused(caller, denied, now);
    }

    /// A caller whom we know: its refusals are in the issuance log.
    fn refuse(&self, session: &Session, error: &AuthorityError) -> Status {
        if error.is_no_room() {
            self.count_refusal(session, &no_room(error));
            return come_back_much_later(error);
        }
        let outcome = match error {
            AuthorityError::Denied(denied) => {
                let now = self.plane.clock.now();
                let authority = &self.plane.authority;
                authority.refused(session.node.id().as_str(), denied, now);
                Outcome::Refused
            }
            _ => Outcome::Failed,
        };
        self.plane.metrics.enrolled(outcome);
        // A hundred in one call: a line for each would be a flood of lines.
        let node = session.node.id();
        let principal = Principal::identity(node.as_str());
        peer_line!(WARN, principal, %node, %error, "enrolment refused");
        status(error)
    }
}
