//! The mesh service, with a bound on messages for each of its calls.
//!
//! A message is decoded before anybody asks who sent it, and may be larger in memory than it was on
//! the wire: an empty enrolment is two bytes there and forty times as much here. So a call takes in
//! no more than it can need.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use countersign_proto::MAX_ENROLMENTS;
use countersign_proto::mesh::mesh_server::MeshServer;
use countersign_serve::limits::MAX_MESSAGE_BYTES;
use countersign_verify::proof::{MAX_SIGNATURE_BYTES, MAX_SPKI_BYTES};
use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::mesh::MeshService;

/// Largest request to enrol: the most keys, each with the longest proof.
const MAX_ENROL_BYTES: usize = 256 * 1024;
/// Of an enrolment: the name of its entitlement, the scheme, tags and lengths.
const MAX_NAME_AND_TAGS_BYTES: usize = 128;
const _: () = assert!(
    MAX_ENROL_BYTES
        >= MAX_ENROLMENTS * (MAX_SPKI_BYTES + MAX_SIGNATURE_BYTES + MAX_NAME_AND_TAGS_BYTES)
);
/// Largest request to attest: a hello, one key with its proof, and evidence. Anybody may send it.
pub(super) const MAX_ATTEST_BYTES: usize = 64 * 1024;

const ENROL: &str = "/countersign.v1.Mesh/Enrol";

/// Takes in [`MAX_ENROL_BYTES`] for an enrolment and [`MAX_MESSAGE_BYTES`] for a message of a stream.
#[derive(Clone, Debug)]
pub(crate) struct BoundedMesh {
    enrol: MeshServer<MeshService>,
    other: MeshServer<MeshService>,
}

impl BoundedMesh {
    pub(super) fn new(service: MeshService) -> Self {
        let service = Arc::new(service);
        let server = |most| MeshServer::from_arc(service.clone()).max_decoding_message_size(most);
        Self {
            enrol: server(MAX_ENROL_BYTES),
            other: server(MAX_MESSAGE_BYTES),
        }
    }
}

impl NamedService for BoundedMesh {
    const NAME: &'static str = MeshServer::<MeshService>::NAME;
}

impl Service<Request<Body>> for BoundedMesh {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <MeshServer<MeshService> as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Neither server ever waits.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_enrol = request.uri().path() == ENROL;
        let server = if is_enrol {
            &mut self.enrol
        } else {
            &mut self.other
        };
        server.call(request)
    }
}
