//! A simulated sidecar: attests, keeps its discovery stream, enrols keys and waits for the chains.

use std::collections::HashSet;
use std::net::SocketAddr;

use anyhow::{Result, bail};
use countersign_proto::MAX_ENROLMENTS;
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_proto::mesh::mesh_client::MeshClient;
use countersign_proto::mesh::node_attestation_client::NodeAttestationClient;
use countersign_proto::mesh::{
    AttestNodeRequest, EnrolAnswer, EnrolRequest, Enrolment, JoinTokenEvidence, enrol_answer,
};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;

use super::link::{Calls, Link, dial, origin};
use super::prepared::{key, proof_of};
use super::stream::{Arrived, Held, Stream};

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
            hello: Some(Held::default().hello()),
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
        let link = dial(address, Some(self.identity())).await?;
        Sidecar::open(link).await
    }
}

/// A connection with an open stream.
#[derive(Debug)]
pub struct Sidecar {
    client: MeshClient<Calls>,
    stream: Stream,
    /// What it has seen and holds.
    pub held: Held,
    /// What key proofs are bound to.
    pub exporter: [u8; 32],
}

impl Sidecar {
    /// Opens its stream on a connection that is there.
    pub(super) async fn open(link: Link) -> Result<Self> {
        Self::come_back(link, &Held::default()).await
    }

    /// Opens its stream and says what it has seen and holds.
    ///
    /// # Errors
    /// It was refused.
    pub async fn come_back(link: Link, held: &Held) -> Result<Self> {
        let mut client = MeshClient::with_origin(link.calls, origin());
        let stream = Stream::open(&mut client, held).await?;
        Ok(Self {
            client,
            stream,
            held: held.clone(),
            exporter: link.exporter,
        })
    }

    /// What comes next on its stream; what has to be acknowledged is.
    ///
    /// # Errors
    /// The stream ended.
    pub async fn next(&mut self) -> Result<Arrived> {
        let arrived = self.stream.next().await?;
        self.held.take_in(&arrived);
        Ok(arrived)
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
                    let arrived = arrived?;
                    self.held.take_in(&arrived);
                    if let Arrived::Resources { resources, .. } = arrived {
                        // The bundle is a secret too, whose version is a hash and the serial of nothing.
                        resources.into_iter().for_each(|(_, version)| news.arrived(version));
                    }
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
