//! What connected sidecars cost a control plane that does nothing else: memory and CPU, by how many there
//! are.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::fleet::{Fleet, Member, Tally};
use super::prepared::Prepared;
use crate::issuance::cpu::Cpu;
use crate::issuance::report::Report;
use crate::memory::Memory;

/// Shares of the whole fleet at which is looked.
const STEPS: [f64; 4] = [0.1, 0.2, 0.5, 1.0];
/// What was left over by handshakes has ended in this time.
const REST: Duration = Duration::from_secs(4);
/// So long CPU is counted.
const WATCHED: Duration = Duration::from_secs(8);
/// All of a step are connected in this time.
const BOUND: Duration = Duration::from_secs(60);
const KIB: f64 = 1024.0;

/// Connects the fleet to the first control plane step by step, and looks after each.
///
/// # Errors
/// Not all of them come.
pub async fn curve(report: Report, prepared: &mut Prepared) -> Result<Fleet> {
    let pid = prepared.first.pid();
    let mut fleet = Fleet::new(prepared.first.address, prepared.manner);
    let whole = prepared.members.len();
    let mut members = std::mem::take(&mut prepared.members).into_iter();
    sleep(REST).await;
    let before = Memory::of(pid)?;
    report.title("idle sidecars at one control plane, each asks after 0.8 s whether it is there");
    report.figure("none: anonymous", before.anonymous as f64 / 1e6, "MB");
    report.figure("none: CPU", idle(pid).await? * 100.0, "% of a core");
    for share in STEPS {
        let size = part(whole, share);
        let more: Vec<Member> = members.by_ref().take(size - fleet.size()).collect();
        more.into_iter().for_each(|member| fleet.add(member));
        let begun = Instant::now();
        fleet.connected(size, BOUND).await?;
        report.figure(
            &format!("{size}: all have a stream after"),
            begun.elapsed().as_secs_f64(),
            "s",
        );
        sleep(REST).await;
        let now = Memory::of(pid)?;
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / KIB / size as f64;
        let anonymous = each(now.anonymous, before.anonymous);
        report.figure(
            &format!("{size}: anonymous memory of one"),
            anonymous,
            "KiB",
        );
        let spent = idle(pid).await?;
        report.figure(&format!("{size}: CPU"), spent * 100.0, "% of a core");
        let of_one = spent * 1e6 / size as f64;
        report.figure(&format!("{size}: CPU of one in a second"), of_one, "µs");
        let lost = Tally::of(&fleet.tally().lost);
        report.figure(&format!("{size}: streams lost so far"), lost as f64, "");
    }
    Ok(fleet)
}

/// Seconds of CPU in a second.
pub(super) async fn idle(pid: u32) -> Result<f64> {
    let (cpu, begun) = (Cpu::of(pid)?, Instant::now());
    sleep(WATCHED).await;
    Ok(cpu.since()?.as_secs_f64() / begun.elapsed().as_secs_f64())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of some thousands"
)]
fn part(whole: usize, share: f64) -> usize {
    (whole as f64 * share).ceil() as usize
}
