//! The sidecar's side of a discovery stream.

use countersign_discovery::{Change, DeltaClient, DeltaResponse};
use countersign_model::EntitlementId;
use countersign_proto::ENTITLEMENT_TYPE;
use countersign_proto::mesh::{
    Consumer, ConsumerReport, ControlMessage, NodeMessage, control_message, node_message,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::harness::BOUND;

/// The sidecar's side of a discovery stream.
pub(crate) struct Stream {
    pub(crate) requests: mpsc::Sender<NodeMessage>,
    pub(crate) inbound: Streaming<ControlMessage>,
    pub(crate) client: DeltaClient,
}

impl Stream {
    pub(crate) async fn message(&mut self) -> Result<ControlMessage, Status> {
        let message = tokio::time::timeout(BOUND, self.inbound.message()).await;
        let message = message.expect("the control plane says something in time")?;
        message.ok_or_else(|| Status::cancelled("closed"))
    }

    /// Waits for the end of the stream.
    pub(crate) async fn ended(&mut self) -> Status {
        loop {
            if let Err(status) = self.message().await {
                return status;
            }
        }
    }

    pub(crate) async fn send(&self, message: node_message::Message) {
        let message = NodeMessage {
            message: Some(message),
        };
        self.requests.send(message).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, type_url: &str, name: &str) {
        let request = self.client.subscribe(type_url, name).expect("a new name");
        self.send(node_message::Message::Delta(request.into()))
            .await;
    }

    /// The changes of the next response, acknowledged.
    pub(crate) async fn changes(&mut self) -> Vec<Change> {
        let received = self.received().await;
        let ack = self.client.accept(&received);
        self.send(node_message::Message::Delta(ack.into())).await;
        received.changes
    }

    /// The next response, not acknowledged yet.
    pub(crate) async fn received(&mut self) -> countersign_discovery::Received {
        let message = self.message().await.unwrap().message;
        let Some(control_message::Message::Delta(response)) = message else {
            panic!("{message:?}");
        };
        self.client
            .handle(DeltaResponse::try_from(response).unwrap())
            .unwrap()
    }

    pub(crate) async fn accept(&mut self, received: &countersign_discovery::Received) {
        let ack = self.client.accept(received);
        self.send(node_message::Message::Delta(ack.into())).await;
    }

    /// Waits until a name is present, and gives its body.
    pub(crate) async fn present(&mut self, name: &str) -> countersign_discovery::Resource {
        loop {
            for change in self.changes().await {
                if let Change::Present(resource) = change
                    && &*resource.name == name
                {
                    return resource;
                }
            }
        }
    }

    /// Waits until a name is removed.
    pub(crate) async fn removed(&mut self, type_url: &str, removed: &str) {
        loop {
            for change in self.changes().await {
                if let Change::Removed { type_url: t, name } = &change
                    && t == type_url
                    && name == removed
                {
                    return;
                }
            }
        }
    }

    /// Subscribes to every entitlement and waits for the node's own.
    pub(crate) async fn entitled(&mut self) {
        self.subscribe(ENTITLEMENT_TYPE, "*").await;
        self.present(EntitlementId::node().as_str()).await;
    }

    /// Reports the consumers behind the node.
    pub(crate) async fn report(&self, consumers: Vec<Consumer>) {
        let report = ConsumerReport { consumers };
        self.send(node_message::Message::Consumers(report)).await;
    }

    /// Acknowledges whatever comes, for as long as it is polled.
    pub(crate) async fn acknowledge_all(&mut self) -> ! {
        loop {
            self.changes().await;
        }
    }
}
