//! What a recognised node may ask: certificates for keys, and its discovery stream.

use std::sync::Arc;

use countersign_proto::mesh::mesh_server::Mesh;
use countersign_proto::mesh::{ControlMessage, EnrolRequest, EnrolResponse, NodeMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::enrolling::Enroller;
use super::session::Sessions;
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
        let session = self.sessions.recognise(&request)?;
        let enrolments = request.into_inner().enrolments;
        let answers = self.enroller.enrol(session, enrolments).await?;
        Ok(Response::new(EnrolResponse { answers }))
    }

    type DiscoverStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn discover(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::DiscoverStream>, Status> {
        let session = self.sessions.recognise(&request)?;
        let (out, responses) = mpsc::channel(MAX_QUEUED_RESPONSES);
        let stream = stream::run(
            self.plane.clone(),
            self.sessions.clone(),
            session,
            request.into_inner(),
            out,
        );
        self.plane.tasks.spawn(stream);
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}
