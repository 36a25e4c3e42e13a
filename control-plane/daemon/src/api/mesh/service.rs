//! What a recognised node may ask: certificates for keys, and its discovery stream.

use std::sync::Arc;

use countersign_proto::codec::Codec;
use countersign_proto::mesh::mesh_server::Mesh;
use countersign_proto::mesh::{ControlMessage, EnrolRequest, EnrolResponse, NodeMessage};
use countersign_serve::limits::MAX_MESSAGE_BYTES;
use countersign_serve::messages::Messages;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Codec as _;
use tonic::{Request, Response, Status, Streaming};

use super::counting::Counting;
use super::enrolling::Enroller;
use super::session::{Session, Sessions};
use super::stream::{self, MAX_QUEUED_RESPONSES};
use crate::plane::Plane;

/// Enrolment and discovery.
#[derive(Debug)]
pub(crate) struct MeshService {
    plane: Arc<Plane>,
    sessions: Arc<Sessions>,
    enroller: Enroller,
}

impl MeshService {
    pub(super) fn new(plane: Arc<Plane>, sessions: Arc<Sessions>) -> Self {
        Self {
            enroller: Enroller::new(plane.clone(), sessions.clone()),
            plane,
            sessions,
        }
    }
}

#[tonic::async_trait]
impl Mesh for MeshService {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<EnrolResponse>, Status> {
        let session = session(&request)?;
        // It was recognised before its keys were read, which can take a while.
        self.sessions.good_until(&session)?;
        let enrolments = request.into_inner().enrolments;
        let answers = self.enroller.enrol(session, enrolments).await?;
        Ok(Response::new(EnrolResponse { answers }))
    }

    type DiscoverStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn discover(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::DiscoverStream>, Status> {
        let session = session(&request)?;
        let (out, responses) = mpsc::channel(MAX_QUEUED_RESPONSES);
        let stream = stream::run(
            self.plane.clone(),
            self.sessions.clone(),
            session,
            node_messages(request),
            out,
        );
        self.plane.tasks.spawn(stream);
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

/// Who calls, as it was recognised before anything of its call was read.
fn session<T>(request: &Request<T>) -> Result<Session, Status> {
    let session = request.extensions().get::<Session>().cloned();
    session.ok_or_else(|| Status::internal("the caller was not recognised"))
}

fn node_messages(request: Request<Streaming<NodeMessage>>) -> Messages<NodeMessage> {
    let decoder = || Counting(Codec::<ControlMessage, NodeMessage>::default().decoder());
    Messages::of(request, decoder, MAX_MESSAGE_BYTES)
}
