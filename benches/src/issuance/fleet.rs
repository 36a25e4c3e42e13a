//! A whole fleet that comes at once: cold identities, reconnecting sidecars, new nodes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::cpu::Cpu;
use super::plane::Plane;
use super::prepared::enrolment;
use super::report::Report;
use super::sidecar::{Node, Sidecar};

/// Identities of a fleet.
const IDENTITIES: usize = 10_000;
/// Sidecars of the fleet that has many identities on each.
const SIDECARS: usize = 100;
/// Sidecars that dial at a time: the control plane cuts handshakes beyond a thousand.
const DIALLING: usize = 256;

/// 10 000 identities on 100 sidecars that have none of them yet.
///
/// # Errors
/// The control plane refuses.
pub async fn cold(report: Report) -> Result<()> {
    let plane = Plane::start(None).await?;
    let each = IDENTITIES / SIDECARS;
    let pairs = (0..IDENTITIES).map(|n| (n / each, n % each));
    let entitlements = plane.admin.register(pairs).await?;
    let nodes = attest(&plane, SIDECARS).await?;
    let shares = entitlements.chunks(each);
    let work = nodes.iter().zip(shares);
    let fleet = Measured::begin(&plane)?;
    let done = work.map(|(node, names)| bring_up(node, plane.address, names));
    let done = stream::iter(done).buffer_unordered(SIDECARS);
    let _connected: Vec<Sidecar> = done.try_collect().await?;
    report.title("10 000 identities on 100 sidecars, cold");
    fleet.print(report)
}

/// 10 000 sidecars of one identity: new ones by tokens, then the same again by their node SVIDs.
///
/// # Errors
/// The control plane refuses.
pub async fn sidecars(report: Report) -> Result<()> {
    let plane = Plane::start(None).await?;
    let pairs = (0..IDENTITIES).map(|n| (n, 0));
    let names = plane.admin.register(pairs).await?;
    let tokens = plane.admin.tokens(0..IDENTITIES).await?;
    let fleet = Measured::begin(&plane)?;
    let done = tokens.iter().zip(names.chunks(1));
    let done = done.map(|(token, name)| join(&plane, token, name));
    let done = stream::iter(done).buffered(DIALLING);
    let (nodes, connected): (Vec<Node>, Vec<Sidecar>) =
        done.try_collect::<Vec<_>>().await?.into_iter().unzip();
    report.title("10 000 sidecars of one identity, attested anew");
    fleet.print(report)?;
    drop(connected);
    tokio::time::sleep(Duration::from_secs(2)).await;

    let fleet = Measured::begin(&plane)?;
    let done = nodes.iter().zip(names.chunks(1));
    let done = done.map(|(node, name)| bring_up(node, plane.address, name));
    let done = stream::iter(done).buffer_unordered(DIALLING);
    let _connected: Vec<Sidecar> = done.try_collect().await?;
    report.title("10 000 sidecars of one identity, reconnecting");
    fleet.print(report)
}

async fn join(plane: &Plane, token: &str, names: &[String]) -> Result<(Node, Sidecar)> {
    let node = Node::attest(plane.address, token).await?;
    let sidecar = bring_up(&node, plane.address, names).await?;
    Ok((node, sidecar))
}

/// Connects a node and has all its identities certified.
pub(super) async fn bring_up(
    node: &Node,
    address: SocketAddr,
    entitlements: &[String],
) -> Result<Sidecar> {
    let mut sidecar = node.connect(address).await?;
    enrol_again(&mut sidecar, entitlements).await?;
    Ok(sidecar)
}

/// Has fresh keys certified for all of these.
pub(crate) async fn enrol_again(sidecar: &mut Sidecar, entitlements: &[String]) -> Result<()> {
    let requests = entitlements.iter();
    let requests = requests.map(|name| enrolment(&sidecar.exporter, name));
    sidecar.enrol(requests.collect()).await
}

/// Attests so many nodes.
pub(super) async fn attest(plane: &Plane, count: usize) -> Result<Vec<Node>> {
    let tokens = plane.admin.tokens(0..count).await?;
    let nodes = tokens
        .iter()
        .map(|token| Node::attest(plane.address, token));
    stream::iter(nodes).buffered(DIALLING).try_collect().await
}

/// Wall time and CPU of both processes from a moment on.
struct Measured {
    begun: Instant,
    plane: Cpu,
    own: Cpu,
}

impl Measured {
    fn begin(plane: &Plane) -> Result<Self> {
        Ok(Self {
            plane: Cpu::of(plane.pid())?,
            own: Cpu::of(std::process::id())?,
            begun: Instant::now(),
        })
    }

    fn print(&self, report: Report) -> Result<()> {
        let wall = self.begun.elapsed();
        report.figure("by the clock", wall.as_secs_f64(), "s");
        let (plane, own) = (self.plane.since()?, self.own.since()?);
        report.figure("CPU of the control plane", plane.as_secs_f64(), "s");
        report.figure("CPU of the simulated sidecars", own.as_secs_f64(), "s");
        Ok(())
    }
}
