//! What a change costs a control plane that others share the database with, beside idle streams.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::fleet::{Fleet, Tally};
use super::prepared::Prepared;
use crate::issuance::cpu::Cpu;
use crate::issuance::plane::{Plane, until};
use crate::issuance::report::{Report, median};

/// Rounds; odd. In each the control plane is first left alone, for what it does then is taken off.
const ROUNDS: usize = 5;
const ALONE: Duration = Duration::from_secs(4);
/// Changes of a round.
const CHANGES: usize = 100;
/// All streams have what concerns all of them in this time.
const BOUND: Duration = Duration::from_secs(60);
/// Changes that are committed at one control plane, and what they cost the other.
pub struct Changes<'a> {
    at: &'a Plane,
    cost: &'a Plane,
    next: &'a Cell<usize>,
}

impl<'a> Changes<'a> {
    /// Commits at the second control plane, to which nobody is connected, and looks at the first.
    pub fn of(prepared: &'a Prepared) -> Self {
        Self {
            at: &prepared.second,
            cost: &prepared.first,
            next: &prepared.next_place,
        }
    }

    /// Prints the CPU of one change that concerns one node of these many; returns it in seconds.
    ///
    /// # Errors
    /// A control plane refuses.
    pub async fn of_one_node(&self, report: Report, title: &str, nodes: usize) -> Result<f64> {
        let mut each = Vec::new();
        for _ in 0..ROUNDS {
            each.push(self.round(nodes).await?);
        }
        let spent = median(each);
        report.figure(title, spent * 1e3, "ms");
        Ok(spent)
    }

    async fn round(&self, nodes: usize) -> Result<f64> {
        let pid = self.cost.pid();
        let (cpu, begun) = (Cpu::of(pid)?, Instant::now());
        sleep(ALONE).await;
        let idle = cpu.since()?.as_secs_f64() / begun.elapsed().as_secs_f64();
        let (cpu, begun) = (Cpu::of(pid)?, Instant::now());
        for _ in 0..CHANGES {
            let place = self.next.replace(self.next.get() + 1);
            let pair = (place % nodes, place);
            self.at.admin.register(std::iter::once(pair)).await?;
        }
        let newest = self.at.admin.status().await?.sequence;
        until(BOUND, async || {
            let seen = self.cost.admin.status().await?.sequence;
            ensure!(seen >= newest, "it is behind");
            Ok(())
        })
        .await?;
        let spent = cpu.since()?.as_secs_f64() - idle * begun.elapsed().as_secs_f64();
        Ok(spent / CHANGES as f64)
    }
}

/// What it costs when something changes for everybody: a root is prepared, and every stream is told of the
/// new bundle and acknowledges it.
///
/// # Errors
/// A control plane refuses, or somebody is not told.
pub async fn for_everybody(report: Report, prepared: &Prepared, fleet: &Fleet) -> Result<()> {
    let told = Tally::of(&fleet.tally().secrets) + fleet.size();
    let (cpu, begun) = (Cpu::of(prepared.first.pid())?, Instant::now());
    prepared.first.admin.prepare_root().await?;
    until(BOUND, async || {
        let now = Tally::of(&fleet.tally().secrets);
        ensure!(now >= told, "{} are not told", told - now);
        Ok(())
    })
    .await?;
    let (clock, spent) = (begun.elapsed(), cpu.since()?);
    report.figure(
        "for all of them, by the clock",
        clock.as_secs_f64() * 1e3,
        "ms",
    );
    let each = spent.as_secs_f64() * 1e6 / fleet.size() as f64;
    report.figure("for all of them, CPU of each", each, "µs");
    Ok(())
}
