//! A control plane is killed, and every sidecar that it had comes to the one that is left.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::fleet::{Fleet, Tally};
use super::planes;
use super::prepared::Prepared;
use crate::issuance::cpu::Cpu;
use crate::issuance::report::{Report, quantile};

/// All of them are there in this time, or something is wrong.
const BOUND: Duration = Duration::from_secs(60);

/// Kills the first control plane under the whole fleet.
///
/// # Errors
/// Not all of them come, or what must not happen did.
pub async fn after_a_kill(report: Report, prepared: &mut Prepared, fleet: &Fleet) -> Result<()> {
    let size = fleet.size();
    fleet.connected(size, BOUND).await?;
    let second = &prepared.second;
    let before = second.admin.status().await?;
    let [failed, lost, secrets] = counted(fleet);
    let (cpu, own) = (Cpu::of(second.pid())?, Cpu::of(std::process::id())?);
    fleet.turn_to(second.address);
    let begun = Instant::now();
    prepared.first.kill()?;
    fleet.turned(BOUND).await?;
    let clock = begun.elapsed();
    let (cpu, own) = (cpu.since()?, own.since()?);
    let opened = fleet.opened_after(begun);
    let after = prepared.second.admin.status().await?;
    let [failed_now, lost_now, secrets_now] = counted(fleet);

    report.title(&format!(
        "{size} sidecars, whose control plane is killed, at the other one"
    ));
    for (name, share) in [("half of them", 0.5), ("99 of 100", 0.99)] {
        let at = quantile(&opened, share).as_secs_f64();
        report.figure(&format!("{name} have a stream after"), at, "s");
    }
    report.figure("all have a stream after", clock.as_secs_f64(), "s");
    report.figure("CPU of the control plane", cpu.as_secs_f64(), "s");
    report.figure("CPU of the simulated sidecars", own.as_secs_f64(), "s");
    report.figure(
        "tries that led to no stream",
        (failed_now - failed) as f64,
        "",
    );
    for (reason, count) in planes::failed_handshakes(&prepared.second).await? {
        report.figure(&format!("handshakes that failed: {reason}"), count, "");
    }
    let twice = (lost_now - lost).saturating_sub(size);
    report.figure("streams lost again on the way", twice as f64, "");
    let issued = after.svids_issued - before.svids_issued;
    report.figure("certificates issued meanwhile", issued as f64, "");
    report.figure("secrets sent again", (secrets_now - secrets) as f64, "");
    let api = after.listeners.iter().find(|it| it.name == "api");
    let api = api.context("no listener of sidecars")?;
    ensure!(api.connections >= size as u64, "{api:?}");
    ensure!(issued == 0, "{issued} were issued");
    Ok(())
}

fn counted(fleet: &Fleet) -> [usize; 3] {
    let tally = fleet.tally();
    let [lost, secrets] = [&tally.lost, &tally.secrets].map(Tally::of);
    [tally.failed(), lost, secrets]
}
