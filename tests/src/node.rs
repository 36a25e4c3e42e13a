//! A node that speaks the sidecar API itself, to try what no sidecar of ours would.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use countersign_model::{SpiffeId, TrustDomain};
use countersign_proto::convert::enrol::read_answers;
use countersign_proto::mesh::attest_node_request::Evidence;
use countersign_proto::mesh::mesh_client::MeshClient;
use countersign_proto::mesh::node_attestation_client::NodeAttestationClient;
use countersign_proto::mesh::{
    AttestNodeRequest, AttestNodeResponse, EnrolRequest, Enrolled, Enrolment, Hello,
    JoinTokenEvidence, KeyProof,
};
use countersign_proto::{KEY_PROOF_EXPORTER, PROTOCOL_VERSION};
use countersign_verify::TrustBundle;
use countersign_verify::tls::{self, IdentityCell, PeerRule, TrustCell};
use hyper_util::rt::TokioIo;
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// The name of the identity that every node has.
pub const NODE_ENTITLEMENT: &str = "node";
const TRUST_DOMAIN: &str = "example.org";
const CONTROL_PLANE: &str = "spiffe://example.org/countersign/control-plane";
/// ecdsa_secp256r1_sha256 (RFC 8446 section 4.2.3).
const ECDSA_P256: u32 = 0x0403;
const EXPORTED_BYTES: usize = 32;

/// One TLS session with the control plane's API.
#[derive(Debug)]
pub struct Session {
    channel: Channel,
    exported: [u8; EXPORTED_BYTES],
}

/// What a session presents: certificates and key, or nothing.
pub type Credential = Option<Arc<IdentityCell>>;

impl Session {
    /// Connects, recognises the control plane by its identity and presents a certificate.
    ///
    /// # Errors
    /// No connection, or another peer than the control plane.
    pub async fn open(api: SocketAddr, bundle_pem: &str, credential: Credential) -> Result<Self> {
        let trust_domain = TrustDomain::new(TRUST_DOMAIN)?;
        let bundle = TrustBundle::from_pem(trust_domain, bundle_pem.as_bytes())?;
        let trust = TrustCell::new(std::iter::once(Arc::new(bundle)).collect());
        let rule = PeerRule::OneOf([SpiffeId::new(CONTROL_PLANE)?].into());
        let config = tls::client_config(credential, trust, rule, &[b"h2"]);
        let stream = TcpStream::connect(api).await?;
        let name = ServerName::try_from("control-plane").expect("a constant DNS name");
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let exported = stream.get_ref().1.export_keying_material(
            [0; EXPORTED_BYTES],
            KEY_PROOF_EXPORTER,
            Some(&[]),
        )?;
        let once = Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_| {
            let stream = once
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .take();
            let gone = || std::io::Error::other("the session has ended");
            std::future::ready(stream.ok_or_else(gone))
        });
        let channel = Endpoint::from_static("http://control-plane")
            .connect_with_connector(connector)
            .await?;
        Ok(Self { channel, exported })
    }

    /// Proof for this session that the caller holds `key`.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn proof(&self, entitlement: &str, key: &KeyPair) -> Result<KeyProof> {
        let spki = key.subject_public_key_info();
        let message = [
            b"countersign-key-proof-v1\0",
            self.exported.as_slice(),
            entitlement.as_bytes(),
            b"\0",
            &spki,
        ]
        .concat();
        Ok(KeyProof {
            signature: key.sign(&message)?,
            spki,
            signature_scheme: ECDSA_P256,
        })
    }

    /// Attests by a join token.
    ///
    /// # Errors
    /// The status that the control plane answered.
    pub async fn attest(&self, token: &str, key: KeyProof) -> Result<AttestNodeResponse, Status> {
        let request = AttestNodeRequest {
            hello: Some(hello()),
            key: Some(key),
            evidence: Some(Evidence::JoinToken(JoinTokenEvidence {
                token: token.trim().to_owned(),
            })),
        };
        let mut client = NodeAttestationClient::new(self.channel.clone());
        Ok(client.attest_node(request).await?.into_inner())
    }

    /// Enrols a key for an entitlement.
    ///
    /// # Errors
    /// The status that the control plane answered.
    pub async fn enrol(&self, entitlement: &str, key: KeyProof) -> Result<Enrolled, Status> {
        let enrolment = Enrolment {
            entitlement: entitlement.to_owned(),
            key: Some(key),
        };
        let request = EnrolRequest {
            enrolments: vec![enrolment],
        };
        let mut client = MeshClient::new(self.channel.clone());
        let answer = client.enrol(request).await?.into_inner();
        let answers = read_answers(answer, 1).map_err(|e| Status::internal(e.to_string()))?;
        answers.into_iter().next().expect("one answer")
    }
}

/// Joins as a node with a fresh key; gives the credential that it holds from then on.
///
/// # Errors
/// The control plane refused.
pub async fn join(api: SocketAddr, bundle_pem: &str, token: &str) -> Result<Credential> {
    let session = Session::open(api, bundle_pem, None).await?;
    let key = KeyPair::generate()?;
    let proof = session.proof(NODE_ENTITLEMENT, &key)?;
    let answer = session.attest(token, proof).await.context("attestation")?;
    let chain = answer.chain.into_iter().map(CertificateDer::from).collect();
    let cell = IdentityCell::empty();
    cell.install(tls::certified_key(chain, &key.serialize_der())?);
    Ok(Some(cell))
}

fn hello() -> Hello {
    Hello {
        protocol_version: PROTOCOL_VERSION,
        capabilities: Vec::new(),
        software: "stories".to_owned(),
        ..Hello::default()
    }
}
