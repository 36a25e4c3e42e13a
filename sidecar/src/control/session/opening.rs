//! How a stream is opened: Hello both ways. It needs nothing of the control task, so that one can be opened
//! while another still runs.

use std::time::Duration;

use countersign_discovery::Stamp;
use countersign_model::{Lifetime, Serial};
use countersign_proto::PROTOCOL_VERSION;
use countersign_proto::mesh::control_message::Message as FromControl;
use countersign_proto::mesh::mesh_client::MeshClient;
use countersign_proto::mesh::node_message::Message as FromNode;
use countersign_proto::mesh::{ControlMessage, Hello, NodeMessage};
use countersign_serve::limits::MAX_MESSAGE_BYTES;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{MAX_UNSENT, SessionError, post};
use crate::control::Control;
use crate::control::dial::Link;

/// The node's certificate that a connection was made with.
pub(crate) type DialledWith = Option<(Serial, Lifetime)>;

/// A stream on which both sides have said Hello.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) link: Link,
    pub(super) outbox: mpsc::Sender<NodeMessage>,
    pub(super) inbox: Streaming<ControlMessage>,
    /// The state that the control plane answers from, where it tells.
    pub(crate) stamp: Option<Stamp>,
}

impl Opened {
    /// Opens it.
    ///
    /// # Errors
    /// It was refused, or nobody said Hello in time.
    pub(crate) async fn over(
        link: Link,
        hello: Hello,
        deadline: Duration,
    ) -> Result<Self, SessionError> {
        let (outbox, unsent) = mpsc::channel(MAX_UNSENT);
        post(&outbox, FromNode::Hello(hello))?;
        let mut client =
            MeshClient::new(link.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let opening = async {
            let mut inbox = client
                .discover(ReceiverStream::new(unsent))
                .await?
                .into_inner();
            let first = inbox.message().await?;
            Ok::<_, tonic::Status>((inbox, first))
        };
        let (inbox, first) = timeout(deadline, opening)
            .await
            .map_err(|_| SessionError::NoHello)??;
        Ok(Self {
            link,
            outbox,
            inbox,
            stamp: greet(first)?,
        })
    }
}

impl Control {
    /// What a connection that is made now is made with.
    pub(crate) fn dialled_with(&self) -> DialledWith {
        let node = self.installer.node();
        node.map(|node| (node.svid.serial, node.svid.lifetime))
    }
}

/// The state that the control plane answers from, where it tells.
fn greet(first: Option<ControlMessage>) -> Result<Option<Stamp>, SessionError> {
    match first.ok_or(SessionError::Closed)?.message {
        Some(FromControl::Hello(hello)) if hello.protocol_version == PROTOCOL_VERSION => {
            let Hello {
                epoch, sequence, ..
            } = hello;
            Ok((epoch > 0).then_some(Stamp { epoch, sequence }))
        }
        Some(FromControl::Hello(hello)) => Err(SessionError::Protocol(hello.protocol_version)),
        _ => Err(SessionError::NoHello),
    }
}
