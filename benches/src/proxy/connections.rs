//! CPU of the sidecar for one connection, with and without the question who is at its local end.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::footprint::own_uid;
use crate::issuance::cpu::Cpu;
use crate::issuance::report::{Report, median, quantile};
use crate::issuance::workload_id;
use crate::machine::{Machine, inbound, outbound};
use crate::peer::{Client, Echo, ask};

/// Rounds; in each every listener carries so many connections. Odd.
const ROUNDS: usize = 21;
const CONNECTIONS: u32 = 400;
/// Connections at a time.
const AT_A_TIME: usize = 8;

/// One connection through each listener: made, a byte each way, closed.
///
/// # Errors
/// The sidecar does not start, or refuses.
pub async fn by_uid_and_without(report: Report) -> Result<()> {
    let workload = Echo::start().await?;
    let peer = TcpListener::bind("127.0.0.1:0").await?;
    let id = workload_id(0, 0);
    let far = peer.local_addr()?;
    let listeners = ["uid", "netns"]
        .map(|attest| inbound(workload.address, &id, attest) + &outbound(far, &id, attest));
    let machine = Machine::start(&[(id.clone(), own_uid())], &listeners.concat()).await?;
    let client = Client::new(&machine.socket(), &id).await?;
    let _peer = Echo::secure(peer, &client)?;
    report.title("CPU of the sidecar for one mTLS connection, with a byte each way");
    for side in ["inbound", "outbound"] {
        let by_uid = Way::new(&machine, side, 0)?;
        let without = Way::new(&machine, side, 1)?;
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            // Neither is always the first.
            let (uid, netns) = if round % 2 == 0 {
                let uid = by_uid.cost(&machine, &client).await?;
                (uid, without.cost(&machine, &client).await?)
            } else {
                let netns = without.cost(&machine, &client).await?;
                (by_uid.cost(&machine, &client).await?, netns)
            };
            // The first round warms caches.
            rounds.extend((round > 0).then_some((uid, netns)));
        }
        tell(report, side, &rounds);
    }
    Ok(())
}

fn tell(report: Report, side: &str, rounds: &[(Duration, Duration)]) {
    let of = |which: fn(&(Duration, Duration)) -> Duration| {
        quantile(&rounds.iter().map(which).collect::<Vec<_>>(), 0.5)
    };
    report.micros(&format!("{side}, the uid is asked for"), of(|it| it.0));
    report.micros(&format!("{side}, it is not (netns)"), of(|it| it.1));
    let ratios = rounds
        .iter()
        .map(|(uid, netns)| uid.div_duration_f64(*netns));
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    let quarter = ratios.len() / 4;
    report.figure(&format!("{side}, ratio"), median(ratios.clone()), "×");
    report.figure("  a quarter of the rounds below", ratios[quarter], "×");
    let above = ratios[ratios.len() - 1 - quarter];
    report.figure("  a quarter of the rounds above", above, "×");
}

/// One listener.
struct Way {
    address: SocketAddr,
    is_inbound: bool,
}

impl Way {
    fn new(machine: &Machine, side: &str, number: usize) -> Result<Self> {
        Ok(Self {
            address: machine.listener(&format!("{side}[{number}]"))?,
            is_inbound: side == "inbound",
        })
    }

    /// CPU of the sidecar for one connection.
    async fn cost(&self, machine: &Machine, client: &Client) -> Result<Duration> {
        let cpu = Cpu::of(machine.pid())?;
        let dials = (0..CONNECTIONS).map(|_| self.once(client));
        let dials = stream::iter(dials).buffer_unordered(AT_A_TIME);
        dials.try_collect::<()>().await?;
        Ok(cpu.since()? / CONNECTIONS)
    }

    async fn once(&self, client: &Client) -> Result<()> {
        if self.is_inbound {
            return client.connect(self.address).await.map(drop);
        }
        let mut plain = TcpStream::connect(self.address).await?;
        plain.set_nodelay(true)?;
        ask(&mut plain).await
    }
}
