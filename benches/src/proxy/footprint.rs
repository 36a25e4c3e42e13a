//! Memory of an idle sidecar, and of idle mTLS connections through it, beside Envoy's for the same.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use countersign_tests::Envoy;
use countersign_tests::envoy::{Bootstrap, Dialect};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;

use crate::issuance::report::{Report, median};
use crate::issuance::workload_id;
use crate::machine::{Machine, inbound};
use crate::memory::{MIB, Memory, proportional};
use crate::peer::{Client, Echo};

/// Connections that are held in one round: an Envoy has 1 024 to one service where nothing is set.
const CONNECTIONS: usize = 320;
/// Connections that are made at a time.
const DIALLING: usize = 16;
/// Rounds; in each both hold as many more. Odd.
const ROUNDS: usize = 3;
/// So long both do nothing before they are looked at.
const REST: Duration = Duration::from_secs(3);
const ONE_THOUSAND: f64 = 1_000.0;

/// Idle, then with more and more idle connections.
///
/// # Errors
/// One of them does not start, or refuses.
pub async fn beside_envoy(report: Report) -> Result<()> {
    let echo = Echo::start().await?;
    let id = workload_id(0, 0);
    let machine = Machine::start(
        &[(id.clone(), own_uid())],
        &inbound(echo.address, &id, "uid"),
    )
    .await?;
    let bootstrap = Bootstrap {
        sds_socket: &machine.socket(),
        identity: &id,
        bundle: "ROOTCA",
        peer: &id,
        dialect: Dialect::Delta,
    };
    sleep(REST).await;
    idle(report, "sidecar, nobody connected", machine.pid())?;
    let envoy = Envoy::inbound(machine.folder(), &bootstrap, echo.address)?;
    envoy.ready().await?;
    let peer = envoy.process().pid().as_raw_nonzero().get().unsigned_abs();
    sleep(REST).await;
    idle(report, "Envoy, its secrets from that sidecar", peer)?;

    let client = Client::new(&machine.socket(), &id).await?;
    let ours = Side::begin(machine.pid(), machine.listener("inbound[0]")?, &client).await?;
    let theirs = Side::begin(peer, envoy.tcp(), &client).await?;
    let (mut own, mut other, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        own.push(ours.more(&client, &mut held).await?);
        other.push(theirs.more(&client, &mut held).await?);
    }
    report.title("memory of 1 000 idle mTLS connections, one byte each way before");
    let ratios = own.iter().zip(&other).map(|(own, other)| own.0 / other.0);
    let ratio = median(ratios.collect());
    for (name, costs) in [("sidecar", &own), ("Envoy", &other)] {
        let of = |which: fn(&(f64, f64)) -> f64| median(costs.iter().map(which).collect());
        report.figure(&format!("{name}, anonymous"), of(|it| it.0), "MiB");
        report.figure(&format!("{name}, resident"), of(|it| it.1), "MiB");
    }
    report.figure("sidecar to Envoy, anonymous", ratio, "×");
    ensure!(held.len() == 2 * ROUNDS * CONNECTIONS, "some are missing");
    Ok(())
}

pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn idle(report: Report, title: &str, pid: u32) -> Result<()> {
    let memory = Memory::of(pid)?;
    report.title(title);
    let mebibytes = |bytes: u64| bytes as f64 / MIB;
    report.figure(
        "anonymous: heap and stacks",
        mebibytes(memory.anonymous),
        "MiB",
    );
    report.figure("proportional", mebibytes(proportional(pid)?), "MiB");
    report.figure("resident", mebibytes(memory.resident), "MiB");
    Ok(())
}

/// One of the two that hold connections.
struct Side {
    pid: u32,
    address: SocketAddr,
}

impl Side {
    /// What only the first connections cost is no part of any round.
    async fn begin(pid: u32, address: SocketAddr, client: &Client) -> Result<Self> {
        for _ in 0..DIALLING {
            client.connect(address).await?;
        }
        Ok(Self { pid, address })
    }

    /// Holds more connections; what a thousand of them cost, anonymous and resident, in MiB.
    async fn more(
        &self,
        client: &Client,
        held: &mut Vec<TlsStream<TcpStream>>,
    ) -> Result<(f64, f64)> {
        sleep(REST).await;
        let before = Memory::of(self.pid)?;
        let dials = (0..CONNECTIONS).map(|_| client.connect(self.address));
        let more: Vec<_> = stream::iter(dials)
            .buffer_unordered(DIALLING)
            .try_collect()
            .await?;
        held.extend(more);
        sleep(REST).await;
        let after = Memory::of(self.pid)?;
        let per_thousand = |more: u64| more as f64 / MIB / CONNECTIONS as f64 * ONE_THOUSAND;
        Ok((
            per_thousand(after.anonymous.saturating_sub(before.anonymous)),
            per_thousand(after.resident.saturating_sub(before.resident)),
        ))
    }
}
