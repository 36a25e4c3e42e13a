//! A simulated sidecar: attests, keeps its discovery stream, enrols keys and waits for the chains.

use std::collections::HashSet;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_proto::mesh::mesh_client::MeshClient;
use countersign_proto::mesh::node_attestation_client::NodeAttestationClient;
use countersign_proto::mesh::{
    AttestNodeRequest, ControlMessage, EnrolAnswer, EnrolRequest, Enrolment, Hello,
    JoinTokenEvidence, NodeMessage, control_message, enrol_answer, node_message,
};
use countersign_proto::{ENTITLEMENT_TYPE, MAX_ENROLMENTS, PROTOCOL_VERSION};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::link::{Calls, Link, dial, origin};
use super::prepared::{key, proof_of};

/// Messages that wait to be sent: room for an acknowledgement of each chain of a batch, since a
/// response whose acknowledgement had to wait would be lost.
const MAX_UNSENT: usize = 1_024;

/// The identity of a node.
#[derive(Debug)]
pub struct Node {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Node {
    /// Attests by a token, on a connection of its own.
    ///
    /// # Errors
    /// It was refused.
    pub async fn attest(address: SocketAddr, token: &str) -> Result<Self> {
        let key = key();
        let link = dial(address, None).await?;
        let request = AttestNodeRequest {
            hello: Some(hello()),
            key: Some(proof_of(&key, &link.exporter, "node")),
            evidence: Some(Evidence::JoinToken(JoinTokenEvidence {
                token: token.to_owned(),
            })),
        };
        let mut client = NodeAttestationClient::with_origin(link.calls, origin());
        let answer = client.attest_node(request).await?.into_inner();
        let chain = answer.chain.into_iter().map(CertificateDer::from).collect();
        Ok(Self { chain, key })
    }

    /// What it presents.
    pub fn identity(&self) -> (&[CertificateDer<'static>], &KeyPair) {
        (&self.chain, &self.key)
    }

    /// Connects and opens its stream.
    ///
    /// # Errors
    /// It was refused.
    pub async fn connect(&self, address: SocketAddr) -> Result<Sidecar> {
        let link = dial(address, Some((&self.chain, &self.key))).await?;
        Sidecar::open(link).await
    }
}

/// A connection with an open stream.
#[derive(Debug)]
pub struct Sidecar {
    client: MeshClient<Calls>,
    stream: Stream,
    /// What key proofs are bound to.
    pub exporter: [u8; 32],
}

impl Sidecar {
    /// Opens its stream on a connection that is there.
    pub(super) async fn open(link: Link) -> Result<Self> {
        let mut client = MeshClient::with_origin(link.calls, origin());
        let (outbox, unsent) = mpsc::channel(MAX_UNSENT);
        outbox
            .send(says(node_message::Message::Hello(hello())))
            .await?;
        let inbox = client.discover(ReceiverStream::new(unsent)).await?;
        let stream = Stream {
            outbox,
            inbox: inbox.into_inner(),
        };
        for type_url in [ENTITLEMENT_TYPE, SECRET_TYPE] {
            stream
                .ask(DeltaDiscoveryRequest {
                    type_url: type_url.to_owned(),
                    resource_names_subscribe: vec!["*".to_owned()],
                    ..DeltaDiscoveryRequest::default()
                })
                .await?;
        }
        Ok(Self {
            client,
            stream,
            exporter: link.exporter,
        })
    }

    /// Has keys certified, all at once, and waits until every chain is here.
    ///
    /// # Errors
    /// One was refused, or the stream ended.
    pub async fn enrol(&mut self, enrolments: Vec<Enrolment>) -> Result<()> {
        self.enrol_in_calls(enrolments, MAX_ENROLMENTS).await
    }

    /// The same with at most so many keys in one call; the calls are made all at once.
    ///
    /// # Errors
    /// One was refused, or the stream ended.
    pub async fn enrol_in_calls(
        &mut self,
        enrolments: Vec<Enrolment>,
        keys_of_a_call: usize,
    ) -> Result<()> {
        let mut calls: FuturesUnordered<_> = enrolments
            .chunks(keys_of_a_call)
            .map(|enrolments| {
                let mut client = self.client.clone();
                let enrolments = enrolments.to_vec();
                async move { client.enrol(EnrolRequest { enrolments }).await }
            })
            .collect();
        let mut news = News::default();
        while !(calls.is_empty() && news.answered.is_empty()) {
            tokio::select! {
                Some(response) = calls.next() => {
                    for answer in response?.into_inner().answers {
                        news.answered(serial(answer)?);
                    }
                }
                arrived = self.stream.next() => {
                    arrived?.into_iter().for_each(|serial| news.arrived(serial));
                }
            }
        }
        Ok(())
    }
}

fn serial(answer: EnrolAnswer) -> Result<String> {
    match answer.answer {
        Some(enrol_answer::Answer::Enrolled(enrolled)) => Ok(hex(&enrolled.serial)),
        other => bail!("not enrolled: {other:?}"),
    }
}

/// Serials that were heard of on one way and not yet on the other.
#[derive(Debug, Default)]
struct News {
    answered: HashSet<String>,
    arrived: HashSet<String>,
}

impl News {
    fn answered(&mut self, serial: String) {
        if !self.arrived.remove(&serial) {
            self.answered.insert(serial);
        }
    }

    fn arrived(&mut self, serial: String) {
        if !self.answered.remove(&serial) {
            self.arrived.insert(serial);
        }
    }
}

#[derive(Debug)]
struct Stream {
    outbox: mpsc::Sender<NodeMessage>,
    inbox: Streaming<ControlMessage>,
}

impl Stream {
    async fn ask(&self, request: DeltaDiscoveryRequest) -> Result<()> {
        let message = says(node_message::Message::Delta(request));
        Ok(self.outbox.send(message).await?)
    }

    /// Takes a response in, acknowledges it and tells the serials of the chains in it.
    async fn next(&mut self) -> Result<Vec<String>> {
        let message = self.inbox.message().await?.context("the stream ended")?;
        let Some(control_message::Message::Delta(response)) = message.message else {
            return Ok(Vec::new());
        };
        let DeltaDiscoveryResponse {
            type_url,
            nonce,
            resources,
            ..
        } = response;
        let acknowledgement = DeltaDiscoveryRequest {
            type_url,
            response_nonce: nonce,
            ..DeltaDiscoveryRequest::default()
        };
        self.ask(acknowledgement).await?;
        // The other secret is the bundle, whose version is a hash and the serial of nothing.
        let serials = resources.into_iter().map(|resource| resource.version);
        Ok(serials.collect())
    }
}

fn says(message: node_message::Message) -> NodeMessage {
    NodeMessage {
        message: Some(message),
    }
}

fn hello() -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        ..Hello::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
