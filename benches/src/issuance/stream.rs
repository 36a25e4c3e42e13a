//! The discovery stream of a simulated sidecar: it says what it holds, and acknowledges what comes.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use countersign_proto::mesh::mesh_client::MeshClient;
use countersign_proto::mesh::{ControlMessage, Hello, NodeMessage, control_message, node_message};
use countersign_proto::{ENTITLEMENT_TYPE, PROTOCOL_VERSION};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::link::Calls;

/// Messages that wait to be sent: room for an acknowledgement of each chain of a batch, since a
/// response whose acknowledgement had to wait would be lost.
const MAX_UNSENT: usize = 1_024;

/// What a sidecar has seen and holds, as it says when it comes back.
#[derive(Clone, Debug, Default)]
pub struct Held {
    epoch: u64,
    sequence: u64,
    newest_chain: Vec<Vec<u8>>,
    /// By type and name.
    versions: BTreeMap<String, HashMap<String, String>>,
}

/// What came on a stream.
#[derive(Clone, Debug)]
pub enum Arrived {
    /// The stream is open.
    Hello {
        /// Of the state that it answers from.
        epoch: u64,
        /// The commit that it has taken.
        sequence: u64,
    },
    /// What is new, or changed, by name and version.
    Resources {
        /// Of what type.
        type_url: String,
        /// Name and version of each.
        resources: Vec<(String, String)>,
    },
    /// Nothing that matters here.
    Other,
}

impl Held {
    /// The same, with the newest chain that is shown to whoever it comes back to.
    #[must_use]
    pub fn with_chain(self, chain: &[impl AsRef<[u8]>]) -> Self {
        Self {
            newest_chain: chain.iter().map(|it| it.as_ref().to_vec()).collect(),
            ..self
        }
    }

    /// Takes in what came.
    pub fn take_in(&mut self, arrived: &Arrived) {
        match arrived {
            Arrived::Hello { epoch, sequence } => (self.epoch, self.sequence) = (*epoch, *sequence),
            Arrived::Resources {
                type_url,
                resources,
            } => {
                let of_type = self.versions.entry(type_url.clone()).or_default();
                of_type.extend(resources.iter().cloned());
            }
            Arrived::Other => {}
        }
    }

    /// How many names of a type are held.
    pub fn count(&self, type_url: &str) -> usize {
        self.versions.get(type_url).map_or(0, HashMap::len)
    }

    pub(super) fn hello(&self) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            epoch: self.epoch,
            sequence: self.sequence,
            newest_chain: self.newest_chain.clone(),
            ..Hello::default()
        }
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    outbox: mpsc::Sender<NodeMessage>,
    inbox: Streaming<ControlMessage>,
}

impl Stream {
    /// Opens it, says hello and asks for everything.
    pub(super) async fn open(client: &mut MeshClient<Calls>, held: &Held) -> Result<Self> {
        let (outbox, unsent) = mpsc::channel(MAX_UNSENT);
        let hello = node_message::Message::Hello(held.hello());
        outbox.send(says(hello)).await?;
        let inbox = client.discover(ReceiverStream::new(unsent)).await?;
        let stream = Self {
            outbox,
            inbox: inbox.into_inner(),
        };
        for type_url in [ENTITLEMENT_TYPE, SECRET_TYPE] {
            let versions = held.versions.get(type_url).cloned();
            stream
                .ask(DeltaDiscoveryRequest {
                    type_url: type_url.to_owned(),
                    resource_names_subscribe: vec!["*".to_owned()],
                    initial_resource_versions: versions.unwrap_or_default(),
                    ..DeltaDiscoveryRequest::default()
                })
                .await?;
        }
        Ok(stream)
    }

    async fn ask(&self, request: DeltaDiscoveryRequest) -> Result<()> {
        let message = says(node_message::Message::Delta(request));
        Ok(self.outbox.send(message).await?)
    }

    /// Takes a message in, and acknowledges it where that is due.
    pub(super) async fn next(&mut self) -> Result<Arrived> {
        let message = self.inbox.message().await?.context("the stream ended")?;
        let response = match message.message {
            Some(control_message::Message::Delta(response)) => response,
            Some(control_message::Message::Hello(hello)) => {
                return Ok(Arrived::Hello {
                    epoch: hello.epoch,
                    sequence: hello.sequence,
                });
            }
            _ => return Ok(Arrived::Other),
        };
        let DeltaDiscoveryResponse {
            type_url,
            nonce,
            resources,
            ..
        } = response;
        let acknowledgement = DeltaDiscoveryRequest {
            type_url: type_url.clone(),
            response_nonce: nonce,
            ..DeltaDiscoveryRequest::default()
        };
        self.ask(acknowledgement).await?;
        let resources = resources.into_iter().map(|it| (it.name, it.version));
        Ok(Arrived::Resources {
            type_url,
            resources: resources.collect(),
        })
    }
}

fn says(message: node_message::Message) -> NodeMessage {
    NodeMessage {
        message: Some(message),
    }
}
