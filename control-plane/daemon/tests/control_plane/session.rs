//! A node, and what it asks on one TLS session.

use countersign_discovery::DeltaClient;
use countersign_proto::PROTOCOL_VERSION;
use countersign_proto::convert::enrol::read_answers;
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_proto::mesh::mesh_client::MeshClient;
use countersign_proto::mesh::node_attestation_client::NodeAttestationClient;
use countersign_proto::mesh::{
    AttestNodeRequest, AttestNodeResponse, EnrolRequest, Enrolled, Enrolment, Hello,
    JoinTokenEvidence, KeyProof, NodeMessage, control_message, node_message,
};
use countersign_verify::proof;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::harness::{BOUND, Plane};
use crate::stream::Stream;

const ECDSA_P256_SHA256: u32 = 0x0403;

pub(crate) struct Session {
    pub(crate) channel: Channel,
    pub(crate) exporter: [u8; 32],
}

pub(crate) struct Node {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: KeyPair,
}

impl Node {
    pub(crate) async fn dial(&self, plane: &Plane) -> Session {
        plane.dial(Some((&self.chain, &self.key))).await
    }
}

pub(crate) fn hello() -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        ..Hello::default()
    }
}

pub(crate) fn key_proof(key: &KeyPair, exporter: &[u8; 32], entitlement: &str) -> KeyProof {
    let spki = key.subject_public_key_info();
    let message = proof::message(exporter, entitlement, &spki);
    KeyProof {
        signature: key.sign(&message).unwrap(),
        signature_scheme: ECDSA_P256_SHA256,
        spki,
    }
}

impl Session {
    pub(crate) async fn attest(
        &self,
        token: &str,
        key: &KeyPair,
        proof_for: &str,
    ) -> Result<AttestNodeResponse, Status> {
        let request = AttestNodeRequest {
            hello: Some(hello()),
            key: Some(key_proof(key, &self.exporter, proof_for)),
            evidence: Some(Evidence::JoinToken(JoinTokenEvidence {
                token: token.to_owned(),
            })),
        };
        let mut client = NodeAttestationClient::new(self.channel.clone());
        Ok(client.attest_node(bounded(request)).await?.into_inner())
    }

    pub(crate) async fn enrol(&self, entitlement: &str, key: &KeyPair) -> Result<Enrolled, Status> {
        let proof = key_proof(key, &self.exporter, entitlement);
        self.enrol_with(entitlement, proof).await
    }

    pub(crate) async fn enrol_with(
        &self,
        entitlement: &str,
        proof: KeyProof,
    ) -> Result<Enrolled, Status> {
        let answers = self.enrol_all(vec![enrolment(entitlement, proof)]).await?;
        answers.into_iter().next().unwrap()
    }

    /// Enrols keys in one call: a status of the call, or one for each key.
    pub(crate) async fn enrol_all(
        &self,
        enrolments: Vec<Enrolment>,
    ) -> Result<Vec<Result<Enrolled, Status>>, Status> {
        let count = enrolments.len();
        let mut client = MeshClient::new(self.channel.clone());
        let request = bounded(EnrolRequest { enrolments });
        let response = client.enrol(request).await?.into_inner();
        Ok(read_answers(response, count).unwrap())
    }

    pub(crate) async fn discover(&self, hello: Hello) -> Result<Stream, Status> {
        let (requests, outbound) = mpsc::channel(64);
        let first = node_message::Message::Hello(hello);
        requests
            .send(NodeMessage {
                message: Some(first),
            })
            .await
            .unwrap();
        let mut client = MeshClient::new(self.channel.clone());
        let inbound = client
            .discover(ReceiverStream::new(outbound))
            .await?
            .into_inner();
        let mut stream = Stream {
            requests,
            inbound,
            client: DeltaClient::new(),
        };
        match stream.message().await?.message {
            Some(control_message::Message::Hello(hello)) => {
                assert_eq!(hello.protocol_version, PROTOCOL_VERSION);
            }
            other => panic!("{other:?}"),
        }
        Ok(stream)
    }
}

pub(crate) fn enrolment(entitlement: &str, proof: KeyProof) -> Enrolment {
    Enrolment {
        entitlement: entitlement.to_owned(),
        key: Some(proof),
    }
}

fn bounded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(BOUND);
    request
}
