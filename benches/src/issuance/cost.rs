//! CPU of the control plane for one SVID, one at a time and in batches, against the primitive; and
//! how many a second that makes on one core and on two.

use std::time::{Duration, Instant};

use anyhow::Result;
use countersign_proto::mesh::EnrolRequest;

use super::cpu::Cpu;
use super::plane::Plane;
use super::prepared::enrolment;
use super::primitive::{Primitive, prepared};
use super::report::{Report, median, quantile};
use super::sidecar::{Node, Sidecar};

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

    fn requests(&self, count: usize) -> Vec<EnrolRequest> {
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
    let mut rounds = Rounds::default();
    bench.batches(2).await?;
    for _ in 0..ROUNDS {
        let least = primitive.cpu(PER_ROUND)?;
        let (single, paced, took) = bench.singly(PER_ROUND, &primitive).await?;
        let (batched, batches) = bench.batches(PER_ROUND as usize / BATCH).await?;
        rounds.took.extend(took);
        rounds.batches.extend(batches);
        rounds.cpu.push([least, single, batched, paced]);
    }
    rounds.print(report);
    Ok(())
}

#[derive(Default)]
struct Rounds {
    cpu: Vec<[Duration; 4]>,
    took: Vec<Duration>,
    batches: Vec<Duration>,
}

impl Rounds {
    fn print(&self, report: Report) {
        let cpu = |which: usize| -> Vec<_> { self.cpu.iter().map(|round| round[which]).collect() };
        let ratio = |which: usize, least: usize| {
            let ratio = |round: &[Duration; 4]| round[which].div_duration_f64(round[least]);
            median(self.cpu.iter().map(ratio).collect())
        };
        report.title("CPU of the control plane for one SVID, from enrolment to the chain streamed");
        report.micros(
            "primitive, in a loop: verify, build, sign",
            quantile(&cpu(0), 0.5),
        );
        report.micros("primitive, one at a time", quantile(&cpu(3), 0.5));
        report.micros("one at a time", quantile(&cpu(1), 0.5));
        report.figure(
            "one at a time, to the primitive in a loop",
            ratio(1, 0),
            "×",
        );
        report.figure(
            "one at a time, to the primitive one at a time",
            ratio(1, 3),
            "×",
        );
        report.micros("in batches of 100", quantile(&cpu(2), 0.5));
        report.figure(
            "in batches of 100, to the primitive in a loop",
            ratio(2, 0),
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
