//! The sidecar API: attestation, enrolment and the one discovery stream of each node.
//!
//! [`attestation`] needs no client certificate. Everything else ([`mesh`]) asks [`session`] on
//! every call which node it speaks to: a workload's SVID authenticates nothing. [`enrolling`] has
//! keys certified, [`bounded`] bounds what is taken in for it. What a node may see is its [`view`];
//! [`stream`] pushes it and takes acknowledgements in.

mod admitting;
mod attestation;
mod bounded;
mod enrolling;
mod hello;
mod mesh;
mod server_identity;
mod session;
mod stream;
mod view;

use std::sync::Arc;

use countersign_proto::mesh::node_attestation_server::NodeAttestationServer;
use countersign_serve::tls::{Standing, TlsPeer};

pub(crate) use server_identity::ServerTls;

use crate::authority::AuthorityError;
use crate::plane::Plane;
use bounded::{BoundedMesh, MAX_ATTEST_BYTES};
use session::Sessions;

/// The two services of the sidecar API.
pub(crate) fn services(
    plane: &Arc<Plane>,
) -> (
    BoundedMesh,
    NodeAttestationServer<attestation::AttestationService>,
) {
    let sessions = Arc::new(Sessions::new(plane.clone()));
    let mesh = mesh::MeshService::new(plane.clone(), sessions);
    let attestation = attestation::AttestationService::new(plane.clone());
    (
        BoundedMesh::new(mesh),
        NodeAttestationServer::new(attestation).max_decoding_message_size(MAX_ATTEST_BYTES),
    )
}

/// Tells nodes from strangers as soon as their handshake is done.
pub(crate) fn standing(plane: &Arc<Plane>) -> impl Fn(&TlsPeer) -> Standing + Send + Sync + use<> {
    let sessions = Sessions::new(plane.clone());
    move |peer| match sessions.is_recognised(peer) {
        true => Standing::Recognised,
        false => Standing::Stranger,
    }
}

/// What a recognised node is told about a failed call.
fn status(error: &AuthorityError) -> tonic::Status {
    match error {
        AuthorityError::Denied(denied) => tonic::Status::permission_denied(denied.to_string()),
        _ => tonic::Status::unavailable("the control plane cannot do this now; try again"),
    }
}
