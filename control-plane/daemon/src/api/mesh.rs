//! The sidecar API: attestation, enrolment and the one discovery stream of each node.
//!
//! [`attestation`] needs no client certificate. Everything else ([`service`]) asks [`session`] on
//! every call which node it speaks to, before anything of the call is read ([`bounded`]): a
//! workload's SVID authenticates nothing. [`enrolling`] has keys certified. [`paying`] says whose
//! share an unfinished message is taken from, [`counting`] how many parts a message may have. What
//! a node may see is its [`view`], of each of the [`resource_kinds`]; [`stream`] pushes it and takes
//! acknowledgements in.

mod admitting;
mod attestation;
mod bounded;
mod counting;
mod enrolling;
mod hello;
mod paying;
mod resource_kinds;
mod server_identity;
mod service;
mod session;
mod stream;
#[cfg(test)]
mod testing;
mod view;

use std::sync::Arc;

use countersign_authority::AuthorityError;
use countersign_proto::mesh::node_attestation_server::NodeAttestationServer;
use countersign_registry::NOT_ENTITLED;
use countersign_serve::messages::MessageBounds;
use countersign_serve::tls::{Standing, TlsPeer};

use crate::plane::Plane;
use bounded::{BoundedMesh, MAX_ATTEST_BYTES};
pub(crate) use server_identity::ServerTls;
use session::Sessions;

/// The sidecar API: its two services, and what their callers may send.
pub(crate) struct Api {
    /// Enrolment and discovery.
    pub(crate) mesh: BoundedMesh,
    /// Attestation.
    pub(crate) attestation: NodeAttestationServer<attestation::AttestationService>,
    /// To be set on the server.
    pub(crate) messages: MessageBounds,
}

impl Api {
    /// The API of this control plane.
    pub(crate) fn new(plane: &Arc<Plane>) -> Self {
        let sessions = Arc::new(Sessions::new(plane.clone()));
        let mesh = service::MeshService::new(plane.clone(), sessions.clone());
        let attestation = attestation::AttestationService::new(plane.clone());
        let attestation = NodeAttestationServer::new(attestation);
        Self {
            mesh: BoundedMesh::new(mesh, sessions.clone()),
            attestation: attestation.max_decoding_message_size(MAX_ATTEST_BYTES),
            messages: paying::messages(sessions),
        }
    }
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
        // A sidecar that still holds it, from before a restore, drops it once it has expired.
        AuthorityError::Denied(denied) if denied.code == NOT_ENTITLED => {
            tonic::Status::not_found(denied.to_string())
        }
        AuthorityError::Denied(denied) => tonic::Status::permission_denied(denied.to_string()),
        _ => tonic::Status::unavailable("the control plane cannot do this now; try again"),
    }
}
