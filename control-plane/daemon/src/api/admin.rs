//! The operator's API, on a Unix socket that only the control plane's own user and root may use.
//!
//! Handlers convert, call the authority and convert back. A refusal carries a stable code and a
//! remedy in its metadata (`refusing`).

mod backup;
mod ca;
mod certificates;
mod last_rotation;
mod listing;
mod moving_keys;
mod nodes;
mod operator;
mod oversize;
mod refusing;
mod registering;
pub mod registration;
mod replicas;
mod rotate;
mod sign;
mod status;
mod waivers;

use std::pin::Pin;
use std::sync::Arc;

use countersign_authority::AuthorityError;
use countersign_proto::admin as wire;
use countersign_proto::admin::admin_server::{Admin, AdminServer};
use countersign_proto::convert::time::{read_duration, timestamp};
use countersign_serve::limits::MAX_MESSAGE_BYTES;
use countersign_serve::messages::{MessageBounds, Shares};
use countersign_serve::unix::UnixPeer;
use countersign_telemetry::{Principal, peer_line};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::plane::Plane;
use operator::Operator;
use oversize::Described;
use refusing::{invalid, spiffe_id};

/// Answers operators.
#[derive(Debug)]
pub(crate) struct AdminService {
    plane: Arc<Plane>,
}

/// The service as the socket serves it.
pub(crate) fn service(plane: &Arc<Plane>) -> Described<AdminServer<AdminService>> {
    let service = AdminService {
        plane: plane.clone(),
    };
    Described(AdminServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES))
}

/// What operators may send at once: root and the server's own user, each some of the longest messages.
pub(crate) fn messages() -> MessageBounds {
    MessageBounds::new(Shares {
        total: 8 * MAX_MESSAGE_BYTES,
        each: 4 * MAX_MESSAGE_BYTES,
    })
}

/// Whether a process may use the socket: by the kernel's word, root or the server's own user.
pub(crate) fn admits(peer: &UnixPeer) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let admitted = peer.uid == 0 || peer.uid == own;
    if !admitted {
        let principal = Principal::uid(peer.uid);
        peer_line!(
            WARN,
            principal,
            uid = peer.uid,
            pid = peer.pid,
            "admin connection refused"
        );
    }
    admitted
}

impl AdminService {
    fn refused(&self, operator: Operator, error: &AuthorityError) -> Status {
        refusing::refused(&self.plane, operator, error)
    }
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn show_bundle(
        &self,
        _: Request<wire::ShowBundleRequest>,
    ) -> Result<Response<wire::ShowBundleResponse>, Status> {
        let bundle = self.plane.authority.first_bundle();
        let (bundle, sequence) = bundle.ok_or_else(ca::no_root_yet)?;
        Ok(Response::new(wire::ShowBundleResponse {
            trust_domain: bundle.trust_domain().to_string(),
            roots: bundle.roots().iter().map(|der| der.to_vec()).collect(),
            sequence,
            version: bundle.version().to_owned(),
        }))
    }

    async fn create_token(
        &self,
        request: Request<wire::CreateTokenRequest>,
    ) -> Result<Response<wire::CreateTokenResponse>, Status> {
        let operator = Operator::of(&request);
        let request = request.into_inner();
        let node = spiffe_id("node", &request.node)?;
        let ttl = read_duration("ttl", request.ttl);
        let ttl = ttl.map_err(|error| invalid("invalid_ttl", error.to_string()))?;
        let now = self.plane.clock.now();
        let made = self.plane.authority.create_token(&node, ttl, now).await;
        let (token, expires_at) = made.map_err(|error| self.refused(operator, &error))?;
        Ok(Response::new(wire::CreateTokenResponse {
            token,
            expires_at: Some(timestamp(expires_at)),
        }))
    }

    async fn register(
        &self,
        request: Request<wire::RegisterRequest>,
    ) -> Result<Response<wire::RegisterResponse>, Status> {
        let operator = Operator::of(&request);
        let registered = registering::register(&self.plane, operator, request.into_inner());
        registered.await.map(Response::new)
    }

    async fn apply(
        &self,
        request: Request<wire::ApplyRequest>,
    ) -> Result<Response<wire::ApplyResponse>, Status> {
        let operator = Operator::of(&request);
        let applied = registering::apply(&self.plane, operator, request.into_inner());
        applied.await.map(Response::new)
    }

    async fn unregister(
        &self,
        request: Request<wire::UnregisterRequest>,
    ) -> Result<Response<wire::UnregisterResponse>, Status> {
        let operator = Operator::of(&request);
        let request = request.into_inner();
        let id = spiffe_id("id", &request.id)?;
        let node = match request.node.as_str() {
            "" => None,
            node => Some(spiffe_id("node", node)?),
        };
        let now = self.plane.clock.now();
        let removed = self.plane.authority.unregister(&id, node.as_ref(), now);
        let removed = removed
            .await
            .map_err(|error| self.refused(operator, &error))?;
        Ok(Response::new(wire::UnregisterResponse {
            removed: removed
                .registrations
                .iter()
                .map(registration::written)
                .collect(),
            valid_until: removed.valid_until.map(timestamp),
        }))
    }

    type ListStream = listing::Registrations;

    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<listing::Registrations>, Status> {
        let listed = listing::list(&self.plane, request.into_inner())?;
        Ok(Response::new(listed))
    }

    async fn sign(
        &self,
        request: Request<wire::SignRequest>,
    ) -> Result<Response<wire::SignResponse>, Status> {
        let operator = Operator::of(&request);
        sign::manual(&self.plane, operator, request.into_inner()).await
    }

    type StatusStream = status::Statuses;

    async fn status(
        &self,
        request: Request<wire::StatusRequest>,
    ) -> Result<Response<status::Statuses>, Status> {
        let answer = status::stream(&self.plane, request.get_ref())?;
        Ok(Response::new(answer))
    }

    async fn ca_status(
        &self,
        _: Request<wire::CaStatusRequest>,
    ) -> Result<Response<wire::CaStatusResponse>, Status> {
        Ok(Response::new(ca::status(&self.plane)))
    }

    async fn last_rotation(
        &self,
        _: Request<wire::LastRotationRequest>,
    ) -> Result<Response<wire::LastRotationResponse>, Status> {
        Ok(Response::new(last_rotation::of(&self.plane)))
    }

    async fn request_ca(
        &self,
        request: Request<wire::RequestCaRequest>,
    ) -> Result<Response<wire::RequestCaResponse>, Status> {
        let requested = ca::request(&self.plane, Operator::of(&request));
        requested.await.map(Response::new)
    }

    async fn import_ca(
        &self,
        request: Request<wire::ImportCaRequest>,
    ) -> Result<Response<wire::ImportCaResponse>, Status> {
        let operator = Operator::of(&request);
        let imported = ca::import(&self.plane, operator, request.into_inner());
        imported.await.map(Response::new)
    }

    async fn give_keys(
        &self,
        request: Request<wire::GiveKeysRequest>,
    ) -> Result<Response<wire::GiveKeysResponse>, Status> {
        let given = moving_keys::give(&self.plane, Operator::of(&request));
        given.await.map(Response::new)
    }

    async fn forget_keys(
        &self,
        request: Request<wire::ForgetKeysRequest>,
    ) -> Result<Response<wire::ForgetKeysResponse>, Status> {
        let operator = Operator::of(&request);
        let forgotten = moving_keys::forget(&self.plane, operator, request.into_inner());
        forgotten.await.map(Response::new)
    }

    async fn take_keys(
        &self,
        request: Request<wire::TakeKeysRequest>,
    ) -> Result<Response<wire::TakeKeysResponse>, Status> {
        let operator = Operator::of(&request);
        let taken = moving_keys::take(&self.plane, operator, request.into_inner());
        taken.await.map(Response::new)
    }

    async fn waive(
        &self,
        request: Request<wire::WaiveRequest>,
    ) -> Result<Response<wire::WaiveResponse>, Status> {
        let operator = Operator::of(&request);
        let waived = waivers::waive(&self.plane, operator, request.into_inner());
        waived.await.map(Response::new)
    }

    async fn unwaive(
        &self,
        request: Request<wire::UnwaiveRequest>,
    ) -> Result<Response<wire::UnwaiveResponse>, Status> {
        let operator = Operator::of(&request);
        let unwaived = waivers::unwaive(&self.plane, operator, request.into_inner());
        unwaived.await.map(Response::new)
    }

    type ListNodesStream = nodes::Nodes;

    async fn list_nodes(
        &self,
        request: Request<wire::ListNodesRequest>,
    ) -> Result<Response<nodes::Nodes>, Status> {
        nodes::list(&self.plane, &request.into_inner())
    }

    async fn evict_node(
        &self,
        request: Request<wire::EvictNodeRequest>,
    ) -> Result<Response<wire::EvictNodeResponse>, Status> {
        let operator = Operator::of(&request);
        let evicted = nodes::evict(&self.plane, operator, request.into_inner());
        evicted.await.map(Response::new)
    }

    async fn unban_node(
        &self,
        request: Request<wire::UnbanNodeRequest>,
    ) -> Result<Response<wire::UnbanNodeResponse>, Status> {
        let operator = Operator::of(&request);
        let unbanned = nodes::unban(&self.plane, operator, request.into_inner());
        unbanned.await.map(Response::new)
    }

    type RotateIntermediateStream = Progress;

    async fn rotate_intermediate(
        &self,
        request: Request<wire::RotateRequest>,
    ) -> Result<Response<Progress>, Status> {
        let operator = Operator::of(&request);
        rotate::intermediate(&self.plane, operator, request.into_inner().wait).await
    }

    type RotateIssuingStream = Progress;

    async fn rotate_issuing(
        &self,
        request: Request<wire::RotateRequest>,
    ) -> Result<Response<Progress>, Status> {
        let operator = Operator::of(&request);
        rotate::issuing(&self.plane, operator, request.into_inner().wait).await
    }

    type RotateRootStream = Progress;

    async fn rotate_root(
        &self,
        request: Request<wire::RotateRequest>,
    ) -> Result<Response<Progress>, Status> {
        let operator = Operator::of(&request);
        rotate::root(&self.plane, operator, request.into_inner().wait).await
    }

    type BackupStream = backup::Pieces;

    async fn backup(
        &self,
        request: Request<wire::BackupRequest>,
    ) -> Result<Response<backup::Pieces>, Status> {
        let operator = Operator::of(&request);
        let with_keys = !request.into_inner().without_keys;
        let pieces = backup::stream(&self.plane, operator, with_keys);
        Ok(Response::new(pieces))
    }

    type ListCertificatesStream = Lineages;

    async fn list_certificates(
        &self,
        request: Request<wire::ListCertificatesRequest>,
    ) -> Result<Response<Lineages>, Status> {
        certificates::list(&self.plane, request.into_inner())
    }

    async fn show_certificate(
        &self,
        request: Request<wire::ShowCertificateRequest>,
    ) -> Result<Response<wire::ShowCertificateResponse>, Status> {
        certificates::show(&self.plane, &request.into_inner()).await
    }

    async fn invite_replica(
        &self,
        request: Request<wire::InviteReplicaRequest>,
    ) -> Result<Response<wire::InviteReplicaResponse>, Status> {
        let operator = Operator::of(&request);
        let invited = replicas::invite(&self.plane, operator, request.into_inner());
        invited.await.map(Response::new)
    }

    async fn list_replicas(
        &self,
        _: Request<wire::ListReplicasRequest>,
    ) -> Result<Response<wire::ListReplicasResponse>, Status> {
        Ok(Response::new(replicas::list(&self.plane).await))
    }

    async fn seal_replica(
        &self,
        request: Request<wire::SealReplicaRequest>,
    ) -> Result<Response<wire::SealReplicaResponse>, Status> {
        let operator = Operator::of(&request);
        let sealed = replicas::seal(&self.plane, operator, request.into_inner());
        sealed.await.map(Response::new)
    }

    async fn remove_replica(
        &self,
        request: Request<wire::RemoveReplicaRequest>,
    ) -> Result<Response<wire::RemoveReplicaResponse>, Status> {
        let operator = Operator::of(&request);
        let removed = replicas::remove(&self.plane, operator, request.into_inner());
        removed.await.map(Response::new)
    }

    async fn raise_level(
        &self,
        request: Request<wire::RaiseLevelRequest>,
    ) -> Result<Response<wire::RaiseLevelResponse>, Status> {
        let operator = Operator::of(&request);
        let raised = replicas::raise(&self.plane, operator);
        raised.await.map(Response::new)
    }
}

/// The lineages of a list, one a message.
pub(crate) type Lineages =
    Pin<Box<dyn Stream<Item = Result<wire::CertificateLineage, Status>> + Send>>;

/// The steps of a rotation.
pub(crate) type Progress = Pin<Box<dyn Stream<Item = Result<wire::RotateProgress, Status>> + Send>>;
