//! Floods against a listener of the sidecar, while a peer with an SVID connects again and again.

use anyhow::Result;

use super::honest::beside;
use super::stranger::Act;
use super::watched::Watched;
use crate::issuance::report::Report;
use crate::issuance::workload_id;
use crate::machine::{Machine, inbound};
use crate::peer::{Client, Echo};

/// What is only slow the first time is no cost of a flood.
const WARMING: usize = 3;

/// Peers without a certificate, and handshakes that stall.
///
/// # Errors
/// A daemon does not start, or ends.
pub async fn floods(report: Report) -> Result<()> {
    for act in [Act::Refused, Act::Stalled] {
        measure(report, act).await?;
    }
    Ok(())
}

async fn measure(report: Report, act: Act) -> Result<()> {
    let echo = Echo::start().await?;
    let id = workload_id(0, 0);
    let uid = rustix::process::geteuid().as_raw();
    let listener = inbound(echo.address, &id, "uid");
    let machine = Machine::start(&[(id.clone(), uid)], &listener).await?;
    let client = Client::new(&machine.socket(), &id).await?;
    let address = machine.listener("inbound[0]")?;
    for _ in 0..WARMING {
        client.connect(address).await?;
    }
    report.title(&format!("{}, to an inbound listener", act.title()));
    let watched = Watched::begin(machine.pid(), machine.log())?;
    let mut connect = async || client.connect(address).await.map(drop);
    let (outcome, waits) = beside(act.run(address, None), &mut connect).await;
    waits.report(report, "a peer with an SVID is served");
    outcome?.report(report);
    watched.report(report, connect).await
}
