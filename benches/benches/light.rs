//! Many streams in one process: what a stream costs beside its TLS connection.
//!
//! Run: `cargo bench -p countersign-benches --bench light`, `--streams N` for another number than 100 000.
//!
//! The API gives a connection to one node, and a node one stream, so that many streams of real nodes cannot share one.
//! Here they do: nodes are named by a header where their certificate would be, 250 on each of some hundred
//! connections of HTTP/2 over pipes in memory. Real are gRPC on both sides, the sessions of discovery and the hub that
//! wakes them; left out are TCP, TLS, pings, and the state that answers. Both ends are in this process, and what is
//! counted is both.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use countersign_benches::issuance::cpu::Cpu;
use countersign_benches::issuance::link::{Calls, http, origin};
use countersign_benches::issuance::plane::until;
use countersign_benches::issuance::report::Report;
use countersign_benches::memory::Memory;
use countersign_discovery::{DeltaRequest, DeltaSession, Limits, Resource, Stamp, Standing, View};
use countersign_envoy::SECRET_TYPE;
use countersign_fleet::{Event, Hub, Subscriber};
use countersign_model::{EntitlementId, SpiffeId};
use countersign_proto::mesh::control_message::Message as FromControl;
use countersign_proto::mesh::mesh_client::MeshClient;
use countersign_proto::mesh::mesh_server::{Mesh, MeshServer};
use countersign_proto::mesh::node_message::Message as FromNode;
use countersign_proto::mesh::{ControlMessage, EnrolRequest, EnrolResponse, NodeMessage};
use futures_util::stream;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Streams of one connection.
const OF_A_CONNECTION: usize = 250;
/// Shares of all streams at which is looked.
const STEPS: [f64; 3] = [0.01, 0.1, 1.0];
/// Changes of one node each.
const CHANGES: usize = 1_000;
/// So long CPU is counted of those that are idle.
const WATCHED: Duration = Duration::from_secs(4);
const BOUND: Duration = Duration::from_secs(120);
const PIPE_BYTES: usize = 64 * 1024;
/// The header that stands for a certificate.
const NODE: &str = "node";
const BUNDLE: &str = "spiffe://example.org";

#[derive(Debug, Parser)]
struct Arguments {
    /// How many streams there are
    #[arg(long, default_value_t = 100_000)]
    streams: usize,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// Added by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { streams, json, .. } = Arguments::parse();
    let report = Report { json };
    report.title("streams over connections that they share, both ends in this process");
    let world = Arc::<World>::default();
    let mut fleet = Fleet::new(&world);
    let before = anonymous()?;
    for share in STEPS {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part of some thousands"
        )]
        let size = (streams as f64 * share) as usize;
        fleet.grow(size).await?;
        look(report, &world, &fleet, before).await?;
    }
    Ok(())
}

async fn look(report: Report, world: &World, fleet: &Fleet, before: u64) -> Result<()> {
    let size = fleet.size;
    let figure = |what: &str, value: f64, unit: &str| {
        report.figure(&format!("{size}: {what}"), value, unit);
    };
    let more = anonymous()?.saturating_sub(before);
    figure(
        "anonymous memory of one",
        more as f64 / 1024.0 / size as f64,
        "KiB",
    );
    let own = std::process::id();
    let (cpu, begun) = (Cpu::of(own)?, Instant::now());
    sleep(WATCHED).await;
    let idle = cpu.since()?.as_secs_f64() / begun.elapsed().as_secs_f64();
    figure("CPU of idle ones", idle * 100.0, "% of a core");

    let (cpu, told) = (Cpu::of(own)?, world.acknowledged());
    for place in 0..CHANGES {
        world.change(node(place * size / CHANGES));
    }
    world.has_acknowledged(told + CHANGES).await?;
    let each = cpu.since()?.as_secs_f64() * 1e6 / CHANGES as f64;
    figure("CPU of a change that concerns one", each, "µs");

    let (cpu, told, begun) = (Cpu::of(own)?, world.acknowledged(), Instant::now());
    world.change_bundle();
    world.has_acknowledged(told + size).await?;
    figure(
        "a change for all, by the clock",
        begun.elapsed().as_secs_f64() * 1e3,
        "ms",
    );
    let each = cpu.since()?.as_secs_f64() * 1e6 / size as f64;
    figure("a change for all, CPU of each", each, "µs");
    Ok(())
}

fn anonymous() -> Result<u64> {
    Ok(Memory::of(std::process::id())?.anonymous)
}

fn node(number: usize) -> SpiffeId {
    let id = format!("spiffe://example.org/node/{number}");
    SpiffeId::new(&id).expect("a path of a number")
}

/// Clients of as many nodes as there are.
struct Fleet {
    incoming: mpsc::UnboundedSender<DuplexStream>,
    size: usize,
    world: Arc<World>,
}

impl Fleet {
    fn new(world: &Arc<World>) -> Self {
        let (incoming, mut connections) = mpsc::unbounded_channel();
        let service = MeshServer::new(Light(Arc::clone(world)));
        let connections = stream::poll_fn(move |cx| connections.poll_recv(cx).map(|it| it.map(Ok)));
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming::<_, DuplexStream, std::io::Error, _>(connections));
        Self {
            incoming,
            size: 0,
            world: Arc::clone(world),
        }
    }

    /// Opens streams until there are so many, each of which has what it asked for.
    async fn grow(&mut self, size: usize) -> Result<()> {
        let told = self.world.acknowledged();
        let more = size - self.size;
        let mut calls = None;
        for number in self.size..size {
            if calls.is_none() || number % OF_A_CONNECTION == 0 {
                let (near, far) = tokio::io::duplex(PIPE_BYTES);
                self.incoming.send(far).context("the server ended")?;
                calls = Some(http(near, None).await?);
            }
            let calls = calls.clone().context("a connection is there")?;
            tokio::spawn(listen(calls, number, Arc::clone(&self.world)));
        }
        self.size = size;
        // A certificate and the bundle.
        self.world.has_acknowledged(told + 2 * more).await
    }
}

/// One node: asks for its certificate and the bundle, and acknowledges what comes.
async fn listen(calls: Calls, number: usize, world: Arc<World>) -> Result<()> {
    let mut client = MeshClient::with_origin(calls, origin());
    let (outbox, unsent) = mpsc::channel(16);
    let says = |request: DeltaRequest| NodeMessage {
        message: Some(FromNode::Delta(request.into())),
    };
    let wanted = DeltaRequest {
        type_url: SECRET_TYPE.to_owned(),
        subscribe: vec![EntitlementId::node().to_string(), BUNDLE.to_owned()],
        ..DeltaRequest::default()
    };
    outbox.send(says(wanted)).await?;
    let mut request = Request::new(ReceiverStream::new(unsent));
    request
        .metadata_mut()
        .insert(NODE, node(number).to_string().parse()?);
    let mut inbox = client.discover(request).await?.into_inner();
    while let Some(message) = inbox.message().await? {
        let Some(FromControl::Delta(response)) = message.message else {
            continue;
        };
        let acknowledged = DeltaRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaRequest::default()
        };
        outbox.send(says(acknowledged)).await?;
        world
            .arrived
            .fetch_add(response.resources.len(), Ordering::Relaxed);
    }
    Ok(())
}

/// What changes.
#[derive(Debug, Default)]
struct World {
    hub: Arc<Hub>,
    changes: AtomicU64,
    bundle: AtomicU64,
    /// Nodes whose certificate was replaced, and how often.
    replaced: Mutex<HashMap<SpiffeId, u64>>,
    arrived: AtomicUsize,
}

impl World {
    fn change(&self, node: SpiffeId) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        let mut replaced = self.replaced.lock().expect("nobody panics");
        *replaced.entry(node.clone()).or_default() += 1;
        drop(replaced);
        self.hub.announce(&Event::Svid(node, EntitlementId::node()));
    }

    fn change_bundle(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.bundle.fetch_add(1, Ordering::Relaxed);
        self.hub.announce(&Event::Bundle);
    }

    fn acknowledged(&self) -> usize {
        self.arrived.load(Ordering::Relaxed)
    }

    async fn has_acknowledged(&self, wanted: usize) -> Result<()> {
        until(BOUND, async || {
            let now = self.acknowledged();
            ensure!(now >= wanted, "{now} of {wanted} came");
            Ok(())
        })
        .await
    }
}

/// The world as one node sees it.
struct Seen<'a>(&'a World, &'a SpiffeId);

impl View for Seen<'_> {
    fn stamp(&self) -> Stamp {
        Stamp {
            epoch: 1,
            sequence: self.0.changes.load(Ordering::Relaxed),
        }
    }

    fn standing(&self, type_url: &str, name: &str) -> Standing {
        let version = match name == BUNDLE {
            true => self.0.bundle.load(Ordering::Relaxed),
            false => {
                let replaced = self.0.replaced.lock().expect("nobody panics");
                replaced.get(self.1).copied().unwrap_or_default()
            }
        };
        // As long as a chain of two.
        let body = Bytes::from_static(&[7; 1_400]);
        let version = version.to_string();
        Standing::Present(Resource::versioned(type_url, name, &version, body))
    }

    fn names(&self, _: &str) -> Vec<Arc<str>> {
        Vec::new()
    }

    fn serves(&self, type_url: &str) -> bool {
        type_url == SECRET_TYPE
    }
}

/// The service, without what recognises nodes.
struct Light(Arc<World>);

#[tonic::async_trait]
impl Mesh for Light {
    type DiscoverStream =
        Pin<Box<dyn futures_util::Stream<Item = Result<ControlMessage, Status>> + Send>>;

    async fn enrol(&self, _: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        Err(Status::unimplemented("nothing is certified"))
    }

    async fn discover(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::DiscoverStream>, Status> {
        let node = request.metadata().get(NODE).and_then(|it| it.to_str().ok());
        let node = node.and_then(|it| SpiffeId::new(it).ok());
        let node = node.ok_or_else(|| Status::unauthenticated("who?"))?;
        let (out, responses) = mpsc::channel(16);
        let subscriber = self.0.hub.join(&node);
        let world = Arc::clone(&self.0);
        tokio::spawn(serve(world, node, subscriber, request.into_inner(), out));
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }
}

async fn serve(
    world: Arc<World>,
    node: SpiffeId,
    subscriber: Subscriber,
    mut inbound: Streaming<NodeMessage>,
    out: mpsc::Sender<Result<ControlMessage, Status>>,
) {
    let mut session = DeltaSession::new(Limits::default());
    let view = Seen(&world, &node);
    loop {
        tokio::select! {
            message = inbound.message() => match message {
                Ok(Some(message)) => {
                    if let Some(FromNode::Delta(request)) = message.message {
                        session.handle(&request.into(), &view).expect("it is well formed");
                    }
                }
                _ => return,
            },
            news = subscriber.news() => for event in news.events {
                match event {
                    Event::Svid(_, id) => session.touch(SECRET_TYPE, &id.to_string()),
                    Event::Bundle => session.touch(SECRET_TYPE, BUNDLE),
                    _ => {}
                }
            },
        }
        while let Some(response) = session.poll_touched(&view) {
            let message = Some(FromControl::Delta(response.into()));
            if out.send(Ok(ControlMessage { message })).await.is_err() {
                return;
            }
        }
    }
}
