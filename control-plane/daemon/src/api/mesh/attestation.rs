//! The first contact of a node: evidence for a node SVID.

use std::sync::Arc;

use countersign_admission::{Class, Permit, Refused};
use countersign_attest::attestor::{SessionFacts, ToldToHolder};
use countersign_model::EntitlementId;
use countersign_proto::convert::time::timestamp;
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_proto::mesh::node_attestation_server::NodeAttestation;
use countersign_proto::mesh::{AttestNodeRequest, AttestNodeResponse, KeyProof};
use countersign_proto::{CODE_KEY, REMEDY_KEY};
use countersign_refusal::Denied;
use countersign_serve::source::Source;
use countersign_serve::tls::TlsPeer;
use countersign_telemetry::{Principal, peer_line};
use countersign_verify::proof::{MAX_SIGNATURE_BYTES, MAX_SPKI_BYTES, ProofError};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::admitting::{come_back_later, come_back_much_later};
use super::hello;
use crate::plane::Plane;
use crate::telemetry::Outcome;
use countersign_authority::series::Phase;
use countersign_authority::{AttestedNode, AuthorityError, ProvenKey, PublishedSvid};

/// What a refused caller is told, whatever it was refused for.
const REFUSED: &str = "attestation refused";

/// Attests nodes.
#[derive(Debug)]
pub(crate) struct AttestationService {
    plane: Arc<Plane>,
}

impl AttestationService {
    pub(super) fn new(plane: Arc<Plane>) -> Self {
        Self { plane }
    }

    /// Waits for a place among the attestations that run, before anything costly is done.
    async fn admit(&self, peer: &TlsPeer) -> Result<Permit<Source>, Status> {
        let source = Source::of(peer.address.ip());
        let admitted = self.plane.attesting.enter(&source, || Class::First).await;
        admitted.map_err(|refused| self.send_away(peer, &refused))
    }

    fn send_away(&self, peer: &TlsPeer, refused: &Refused) -> Status {
        self.plane.metrics.attested(Outcome::Refused);
        // Not a warning: a flood of calls would be a flood of lines.
        tracing::debug!(peer = %peer.address, reason = %refused, "attestation sent away");
        come_back_later(refused)
    }

    /// Evidence is screened before the proof is checked: a guess costs a hash and no signature.
    async fn attest(
        &self,
        peer: &TlsPeer,
        key: KeyProof,
        evidence: Evidence,
    ) -> Result<(AttestedNode, Arc<PublishedSvid>), AuthorityError> {
        let own = EntitlementId::node();
        let authority = &self.plane.authority;
        let now = self.plane.clock.now();
        let facts = SessionFacts {
            spki_sha256: Sha256::digest(&key.spki).into(),
            exporter: peer.exporter,
            now,
        };
        authority.screen(&evidence, &facts)?;
        let key = proven_key(&key, &peer.exporter, &own)?;
        let node = authority.attest(evidence, &key, facts).await?;
        let svid = authority.enrol(&node, &own, &key, now);
        Ok((node.clone(), svid.await?))
    }

    fn answer(&self, node: &AttestedNode, svid: &PublishedSvid) -> AttestNodeResponse {
        let (bundle, _) = self.plane.authority.bundle();
        AttestNodeResponse {
            hello: Some(hello::ours(self.plane.authority.stamp())),
            node_id: node.id().to_string(),
            chain: svid.chain().iter().map(|der| der.to_vec()).collect(),
            issued_at: Some(timestamp(svid.lifetime.issued_at)),
            bundle: bundle.roots().iter().map(|der| der.to_vec()).collect(),
        }
    }

    /// The caller learns nothing of a refusal, but the end of a token that it holds; operators find
    /// reason and address in the log.
    fn refuse(&self, peer: &TlsPeer, shown: &Evidence, error: &AuthorityError) -> Status {
        if let AuthorityError::Denied(denied) = error {
            self.plane.attesting.count(&Source::of(peer.address.ip()));
            self.plane.metrics.attested(Outcome::Refused);
            let showing = self.plane.authority.showing(shown);
            self.plane.note_refused(peer.address.ip(), showing, denied);
            peer_line!(
                WARN,
                Principal::source(peer.address.ip()),
                peer = %peer.address,
                code = denied.code,
                reason = %denied,
                "attestation refused"
            );
            let now = self.plane.clock.now();
            let told = self.plane.authority.told_to_holder(shown, now);
            // Where something else was the reason, such as a ban, another token would not help.
            return refusal(told.filter(|told| told.code == denied.code));
        }
        if error.is_no_room() {
            self.plane.metrics.attested(Outcome::Refused);
            tracing::debug!(peer = %peer.address, reason = %error, "attestation sent away");
            return come_back_much_later(error);
        }
        self.plane.metrics.attested(Outcome::Failed);
        let principal = Principal::source(peer.address.ip());
        peer_line!(ERROR, principal, peer = %peer.address, error = %error, "attestation failed");
        Status::unavailable("the control plane cannot attest now; try again")
    }
}

#[tonic::async_trait]
impl NodeAttestation for AttestationService {
    async fn attest_node(
        &self,
        request: Request<AttestNodeRequest>,
    ) -> Result<Response<AttestNodeResponse>, Status> {
        let peer = request.extensions().get::<TlsPeer>().cloned();
        let peer = peer.ok_or_else(|| Status::internal("the connection has no peer"))?;
        let AttestNodeRequest {
            hello,
            key,
            evidence,
        } = request.into_inner();
        hello::check(hello.as_ref())?;
        drop(hello);
        let key = key.ok_or_else(|| Status::invalid_argument("no key proof"))?;
        // Before it waits at the gate: what waits must be small.
        if key.spki.len() > MAX_SPKI_BYTES || key.signature.len() > MAX_SIGNATURE_BYTES {
            return Err(Status::invalid_argument(ProofError::TooLarge.to_string()));
        }
        let evidence = evidence.ok_or_else(|| Status::invalid_argument("no evidence"))?;
        let _place = self.admit(&peer).await?;
        let started = Instant::now();
        let span = tracing::info_span!("attest", peer = %peer.address);
        let shown = evidence.clone();
        let attested = self.attest(&peer, key, evidence).instrument(span).await;
        let (node, svid) = attested.map_err(|error| self.refuse(&peer, &shown, &error))?;
        self.plane.metrics.attested(Outcome::Granted);
        let metrics = self.plane.authority.metrics();
        metrics.took(Phase::Attest, started.elapsed());
        let answer = self.answer(&node, &svid);
        let (peer, node) = (peer.address, node.id());
        let principal = Principal::identity(node.as_str());
        peer_line!(INFO, principal, %peer, %node, serial = %svid.serial, "node attested");
        Ok(Response::new(answer))
    }
}

/// One answer for all. Whoever holds what has ended is told so beside it, in the metadata.
fn refusal(told: Option<ToldToHolder>) -> Status {
    let mut status = Status::permission_denied(REFUSED);
    let told = told.map(|it| (it.code.to_owned(), format!("{}; {}", it.message, it.remedy)));
    let told = told
        .into_iter()
        .flat_map(|(code, words)| [(CODE_KEY, code), (REMEDY_KEY, words)]);
    for (key, value) in told {
        // A value that is no header text is left out: what it says is for convenience.
        if let Ok(value) = MetadataValue::try_from(value) {
            status.metadata_mut().insert(key, value);
        }
    }
    status
}

/// The key whose possession the session with this exporter proves.
///
/// # Errors
/// A proof that proves nothing.
pub(super) fn proven_key(
    key: &KeyProof,
    exporter: &[u8; 32],
    entitlement: &EntitlementId,
) -> Result<ProvenKey, Denied> {
    // A scheme beyond 16 bits is none: 0 is reserved and never accepted.
    let scheme = u16::try_from(key.signature_scheme).unwrap_or(0);
    ProvenKey::check(&key.spki, scheme, &key.signature, exporter, entitlement)
}
