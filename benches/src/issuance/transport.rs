//! The transport alone: one call and one pushed chain, acknowledged, over the same TLS, HTTP/2 and
//! gRPC with the same limits, and nothing in between, or one durable write. No control plane of this
//! API is cheaper: the chains of one call share a response.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::KEY_PROOF_EXPORTER;
use countersign_proto::codec::Codec;
use countersign_proto::convert::enrol::answer;
use countersign_proto::discovery::{DeltaDiscoveryResponse, Resource};
use countersign_proto::mesh::mesh_server::{Mesh, MeshServer};
use countersign_proto::mesh::{
    ControlMessage, EnrolRequest, EnrolResponse, Enrolled, NodeMessage, control_message,
};
use countersign_serve::limits::MAX_MESSAGE_BYTES;
use countersign_serve::messages::{MessageBounds, Messages, Shares};
use countersign_serve::tls::{self, TlsService};
use countersign_serve::{bind_tcp, grpc};
use countersign_verify::tls::provider;
use prost_types::Any;
use rcgen::KeyPair;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Codec as _;
use tonic::{Request, Response, Status, Streaming};

use super::cost::BATCH;
use super::cpu::Cpu;
use super::durable::Durable;
use super::link::dial;
use super::primitive::{Primitive, prepared};
use super::sidecar::Sidecar;

/// Arguments by which this executable becomes the server.
const SERVER: &str = "transport-server";
const DURABLE_SERVER: &str = "durable-server";
/// Bytes of a chain as it is streamed: a leaf and an issuing CA, PEM.
const CHAIN_BYTES: usize = 1_500;
/// Messages that wait for the network, as in the control plane.
const MAX_UNSENT: usize = 16;

/// The server, as a process of its own so that its CPU can be told.
#[derive(Debug)]
pub struct Transport {
    child: Child,
    sidecar: Sidecar,
}

impl Transport {
    /// Starts the server and connects. A `durable` one writes to disk before it answers.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(durable: bool) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(if durable { DURABLE_SERVER } else { SERVER })
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let link = dial(line.trim().parse()?, None).await?;
        let sidecar = Sidecar::open(link).await?;
        Ok(Self { child, sidecar })
    }

    /// CPU of the server for one call and one chain: one after the other, each followed by one
    /// primitive as the control plane's are.
    ///
    /// # Errors
    /// The server went away.
    pub async fn singly(&mut self, count: u32, primitive: &Primitive) -> Result<Duration> {
        let prepared: Vec<_> = (0..count).map(|_| prepared()).collect();
        let cpu = Cpu::of(self.child.id())?;
        for request in &prepared {
            self.sidecar.enrol(vec![request.clone()]).await?;
            primitive.cpu_of_one(request)?;
        }
        Ok(cpu.since()? / count)
    }

    /// CPU of the server for one of a batch.
    ///
    /// # Errors
    /// The server went away.
    pub async fn batches(&mut self, count: usize) -> Result<Duration> {
        let batches: Vec<Vec<_>> = (0..count)
            .map(|_| (0..BATCH).map(|_| prepared()).collect())
            .collect();
        let cpu = Cpu::of(self.child.id())?;
        for batch in batches {
            self.sidecar.enrol(batch).await?;
        }
        Ok(cpu.since()? / u32::try_from(count * BATCH)?)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Longer than any run.
const RUN: Duration = Duration::from_secs(24 * 3_600);

/// Serves until it is killed; says its address first.
///
/// # Errors
/// It cannot listen.
#[allow(clippy::print_stdout, reason = "its parent reads the address there")]
pub async fn serve(durable: bool) -> Result<()> {
    let echo = Echo {
        disk: durable.then(Durable::start).transpose()?,
        ..Echo::default()
    };
    let listener = bind_tcp(SocketAddr::from(([127, 0, 0, 1], 0)), "transport")?;
    println!("{}", listener.local_addr()?);
    let mut service = TlsService::new(Arc::new(config()?), KEY_PROOF_EXPORTER);
    // Its client shows no certificate, and stays and says much.
    service.limits.stranger_lifetime = RUN;
    service.limits.max_stranger_bytes = usize::MAX;
    let incoming = tls::incoming(listener, service);
    let messages = MessageBounds::new(Shares {
        total: 8 * MAX_MESSAGE_BYTES,
        each: 8 * MAX_MESSAGE_BYTES,
    });
    let server = grpc::Server::new(messages).add_service(MeshServer::new(echo));
    server.serve(incoming).await;
    Ok(())
}

fn config() -> Result<ServerConfig> {
    let key = KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::default().self_signed(&key)?;
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

type Out = mpsc::Sender<Result<ControlMessage, Status>>;

/// Answers every enrolment with a number, and streams a chain of zeros under it.
#[derive(Debug, Default)]
struct Echo {
    next: AtomicU64,
    disk: Option<Durable>,
    stream: Mutex<Option<Out>>,
}

impl Echo {
    fn stream(&self) -> MutexGuard<'_, Option<Out>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serial(&self) -> [u8; 16] {
        u128::from(self.next.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
    }
}

#[tonic::async_trait]
impl Mesh for Echo {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<EnrolResponse>, Status> {
        let out = self.stream().clone();
        let out = out.ok_or_else(|| Status::failed_precondition("no stream"))?;
        let enrolments = request.into_inner().enrolments;
        if let Some(disk) = &self.disk {
            let written = disk.write().await;
            written.map_err(|error| Status::unavailable(error.to_string()))?;
        }
        let serials: Vec<_> = enrolments.iter().map(|_| self.serial()).collect();
        // Nobody reads it when the benchmark is over.
        let _ = out.send(Ok(chains(&serials))).await;
        let answers = serials.iter().map(|serial| {
            answer(Ok(Enrolled {
                serial: serial.to_vec(),
                ..Enrolled::default()
            }))
        });
        Ok(Response::new(EnrolResponse {
            answers: answers.collect(),
        }))
    }

    type DiscoverStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn discover(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::DiscoverStream>, Status> {
        let (out, responses) = mpsc::channel(MAX_UNSENT);
        *self.stream() = Some(out);
        let decoder = || Codec::<ControlMessage, NodeMessage>::default().decoder();
        let mut acknowledgements = Messages::of(request, decoder, MAX_MESSAGE_BYTES);
        tokio::spawn(async move { while let Ok(Some(_)) = acknowledgements.next().await {} });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

/// One response with a chain under each serial.
fn chains(serials: &[[u8; 16]]) -> ControlMessage {
    let response = DeltaDiscoveryResponse {
        type_url: SECRET_TYPE.to_owned(),
        nonce: serials.first().map(hex).unwrap_or_default(),
        resources: serials.iter().map(chain).collect(),
        ..DeltaDiscoveryResponse::default()
    };
    ControlMessage {
        message: Some(control_message::Message::Delta(response)),
    }
}

fn chain(serial: &[u8; 16]) -> Resource {
    let body = Any {
        type_url: SECRET_TYPE.to_owned(),
        value: vec![0; CHAIN_BYTES],
    };
    Resource {
        name: "transport".to_owned(),
        version: hex(serial),
        resource: Some(body),
    }
}

fn hex(serial: &[u8; 16]) -> String {
    serial.iter().map(|byte| format!("{byte:02x}")).collect()
}
