//! The mesh service, which reads nothing of a caller that it does not recognise, with a bound on
//! messages for each of its calls.
//!
//! A message may be larger in memory than it was on the wire: an empty enrolment is two bytes there
//! and forty times as much here. So a call takes in no more than it can need, and of strangers nothing.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
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

use super::service::MeshService;
use super::session::Sessions;

/// Largest request to enrol: the most keys, each with the longest proof.
const MAX_ENROL_BYTES: usize = 256 * 1024;
/// Of an enrolment: the name of its entitlement, the scheme, tags and lengths.
const MAX_NAME_AND_TAGS_BYTES: usize = 128;
const _: () = assert!(
    MAX_ENROL_BYTES
        >= MAX_ENROLMENTS * (MAX_SPKI_BYTES + MAX_SIGNATURE_BYTES + MAX_NAME_AND_TAGS_BYTES)
);
/// Largest request to attest: a hello, one key with its proof, and evidence. Anybody may send it.
pub(super) const MAX_ATTEST_BYTES: usize = 16 * 1024;
const _: () = assert!(MAX_ATTEST_BYTES >= 4 * (MAX_SPKI_BYTES + MAX_SIGNATURE_BYTES));

const ENROL: &str = "/countersign.v1.Mesh/Enrol";

/// Takes in of recognised callers [`MAX_ENROL_BYTES`] for an enrolment and [`MAX_MESSAGE_BYTES`] for a message of a stream.
#[derive(Clone, Debug)]
pub(crate) struct BoundedMesh {
    enrol: MeshServer<MeshService>,
    other: MeshServer<MeshService>,
    sessions: Arc<Sessions>,
}

impl BoundedMesh {
    pub(super) fn new(service: MeshService, sessions: Arc<Sessions>) -> Self {
        let service = Arc::new(service);
        let server = |most| MeshServer::from_arc(service.clone()).max_decoding_message_size(most);
        Self {
            enrol: server(MAX_ENROL_BYTES),
            other: server(MAX_MESSAGE_BYTES),
            sessions,
        }
    }
}

impl NamedService for BoundedMesh {
    const NAME: &'static str = MeshServer::<MeshService>::NAME;
}

impl Service<Request<Body>> for BoundedMesh {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Neither server ever waits.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.sessions.recognise(request.extensions()) {
            Ok(session) => request.extensions_mut().insert(session),
            // The body is dropped unread.
            Err(status) => return Box::pin(ready(Ok(status.into_http()))),
        };
        let is_enrol = request.uri().path() == ENROL;
        let server = if is_enrol {
            &mut self.enrol
        } else {
            &mut self.other
        };
        server.call(request)
    }
}
