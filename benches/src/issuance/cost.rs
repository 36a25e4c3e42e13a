//! CPU of the control plane for one SVID, one at a time and in batches, against the primitive; and
//! how many a second that makes on one core and on two.

use std::time::{Duration, Instant};

use anyhow::Result;
use countersign_proto::mesh::Enrolment;

use super::cpu::Cpu;
use super::plane::Plane;
use super::prepared::enrolment;
use super::primitive::{Primitive, prepared};
use super::report::{Report, median, quantile};
use super::sidecar::{Node, Sidecar};
use super::transport::Transport;

/// Rounds of each comparison; odd, so that the median is a round that was run.
pub const ROUNDS: usize = 15;
/// SVIDs of one round.
const PER_ROUND: u32 = 400;
/// SVIDs that are asked for at once, and entitlements of the node.
pub const BATCH: usize = 100;
/// Batches of one round of throughput.
const BATCHES: usize = 20;

/// A node with its entitlements and an open stream.
pub struct Bench {
    /// What is measured.
    pub plane: Plane,
    /// The node's connection.
    pub sidecar: Sidecar,
    /// What it may hold.
    pub entitlements: Vec<String>,
}

impl Bench {
    /// A control plane on these cores with one node of [`BATCH`] entitlements.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(cores: Option<&str>) -> Result<Self> {
        let plane = Plane::start(cores).await?;
        Self::on(plane).await
    }

    /// The same on a control plane that has other registrations already.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn on(plane: Plane) -> Result<Self> {
        let pairs = (0..BATCH).map(|workload| (0, workload));
        let entitlements = plane.admin.register(pairs).await?;
        let tokens = plane.admin.tokens(std::iter::once(0)).await?;
        let node = Node::attest(plane.address, &tokens[0]).await?;
        let sidecar = node.connect(plane.address).await?;
        Ok(Self {
            plane,
            sidecar,
            entitlements,
        })
    }

    fn requests(&self, count: usize) -> Vec<Enrolment> {
        let names = self.entitlements.iter().cycle().take(count);
        names
            .map(|name| enrolment(&self.sidecar.exporter, name))
            .collect()
    }

    /// SVIDs one after the other, each followed by one primitive, whose caches are then as cold:
    /// CPU of one and of one primitive, and how long each took.
    ///
    /// # Errors
    /// One was refused.
    pub async fn singly(
        &mut self,
        count: u32,
        primitive: &Primitive,
    ) -> Result<(Duration, Duration, Vec<Duration>)> {
        let requests = self.requests(usize::try_from(count)?);
        let prepared: Vec<_> = requests.iter().map(|_| prepared()).collect();
        let mut took = Vec::with_capacity(requests.len());
        let mut least = Duration::ZERO;
        let cpu = Cpu::of(self.plane.pid())?;
        for (request, prepared) in requests.into_iter().zip(&prepared) {
            let begun = Instant::now();
            self.sidecar.enrol(vec![request]).await?;
            took.push(begun.elapsed());
            least += primitive.cpu_of_one(prepared)?;
        }
        Ok((cpu.since()? / count, least / count, took))
    }

    /// Batches of [`BATCH`] at once: CPU of one SVID, and how long each batch took.
    ///
    /// # Errors
    /// One was refused.
    pub async fn batches(&mut self, count: usize) -> Result<(Duration, Vec<Duration>)> {
        let batches: Vec<_> = (0..count).map(|_| self.requests(BATCH)).collect();
        let mut took = Vec::with_capacity(count);
        let cpu = Cpu::of(self.plane.pid())?;
        for batch in batches {
            let begun = Instant::now();
            self.sidecar.enrol(batch).await?;
            took.push(begun.elapsed());
        }
        let issued = u32::try_from(count * BATCH)?;
        Ok((cpu.since()? / issued, took))
    }
}

/// Ratio to the primitive, and latency.
///
/// # Errors
/// The control plane does not start, or refuses.
pub async fn against_the_primitive(report: Report) -> Result<()> {
    let mut bench = Bench::start(None).await?;
    let primitive = Primitive::new()?;
    let mut transport = Transport::start().await?;
    let mut rounds = Rounds::default();
    bench.batches(2).await?;
    transport.batches(2).await?;
    for _ in 0..ROUNDS {
        let least = primitive.cpu(PER_ROUND)?;
        let (single, paced, took) = bench.singly(PER_ROUND, &primitive).await?;
        let (batched, batches) = bench.batches(PER_ROUND as usize / BATCH).await?;
        let carried = transport.singly(PER_ROUND, &primitive).await?;
        let carried_in_batches = transport.batches(PER_ROUND as usize / BATCH).await?;
        rounds.took.extend(took);
        rounds.batches.extend(batches);
        rounds.cpu.push(Round {
            primitive: least,
            paced_primitive: paced,
            single,
            batched,
            carried,
            carried_in_batches,
        });
    }
    rounds.print(report);
    Ok(())
}

#[derive(Default)]
struct Rounds {
    cpu: Vec<Round>,
    took: Vec<Duration>,
    batches: Vec<Duration>,
}

/// CPU for one SVID in one round.
struct Round {
    primitive: Duration,
    paced_primitive: Duration,
    single: Duration,
    batched: Duration,
    /// By a server that only carries messages.
    carried: Duration,
    carried_in_batches: Duration,
}

impl Rounds {
    fn print(&self, report: Report) {
        let cpu = |which: fn(&Round) -> Duration| -> Duration {
            quantile(&self.cpu.iter().map(which).collect::<Vec<_>>(), 0.5)
        };
        let ratio = |which: fn(&Round) -> Duration, least: fn(&Round) -> Duration| {
            let ratio = |round: &Round| which(round).div_duration_f64(least(round));
            median(self.cpu.iter().map(ratio).collect())
        };
        report.title("CPU of the control plane for one SVID, from enrolment to the chain streamed");
        let loop_name = "primitive, in a loop: verify, build, sign";
        report.micros(loop_name, cpu(|it| it.primitive));
        report.micros("primitive, one at a time", cpu(|it| it.paced_primitive));
        report.micros("transport alone, one at a time", cpu(|it| it.carried));
        report.micros("one at a time", cpu(|it| it.single));
        let single = ratio(|it| it.single, |it| it.primitive);
        report.figure("one at a time, to the primitive in a loop", single, "×");
        let paced = ratio(|it| it.single, |it| it.paced_primitive);
        report.figure("one at a time, to the primitive one at a time", paced, "×");
        let least = |it: &Round| it.paced_primitive + it.carried;
        let both = "one at a time, to the transport and the primitive";
        report.figure(both, ratio(|it| it.single, least), "×");
        report.micros(
            "transport alone, in batches of 100",
            cpu(|it| it.carried_in_batches),
        );
        report.micros("in batches of 100", cpu(|it| it.batched));
        let batched = ratio(|it| it.batched, |it| it.primitive);
        report.figure(
            "in batches of 100, to the primitive in a loop",
            batched,
            "×",
        );
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            report.micros(
                &format!("latency one at a time, {name}"),
                quantile(&self.took, share),
            );
            report.micros(
                &format!("latency of a batch of 100, {name}"),
                quantile(&self.batches, share),
            );
        }
    }
}

/// SVIDs a second on one core (the client on the other) and on both (shared with the client).
///
/// # Errors
/// The control plane does not start, or refuses.
pub async fn throughput(report: Report) -> Result<()> {
    report
        .title("SVIDs a second, batches of 100 on one connection, with the client on this machine");
    for (name, cores) in [("one core", Some("0")), ("two cores", None)] {
        let mut bench = Bench::start(cores).await?;
        bench.batches(2).await?;
        let mut rates = Vec::new();
        let mut cpu = Vec::new();
        for _ in 0..ROUNDS {
            let (each, took) = bench.batches(BATCHES).await?;
            let time: Duration = took.iter().sum();
            rates.push((BATCHES * BATCH) as f64 / time.as_secs_f64());
            cpu.push(1.0 / each.as_secs_f64());
        }
        report.figure(&format!("{name}, by the clock"), median(rates), "/s");
        report.figure(
            &format!("{name}, for each second of CPU"),
            median(cpu),
            "/s",
        );
    }
    Ok(())
}
