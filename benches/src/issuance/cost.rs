//! CPU of the control plane for one SVID, one at a time and in batches, against the primitive; and
//! how many a second that makes on one core and on two.

use std::time::{Duration, Instant};

use anyhow::Result;
use countersign_proto::mesh::Enrolment;
use futures_util::future::try_join_all;

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
/// Nodes that enrol side by side where the clock is looked at.
pub const NODES: usize = 4;
/// Batches of each of them in one round of throughput.
const BATCHES: usize = 5;

/// A control plane, and nodes with entitlements and an open stream each.
pub struct Bench {
    /// What is measured.
    pub plane: Plane,
    /// The others of its database, which are measured with it.
    others: Vec<Plane>,
    callers: Vec<Caller>,
}

/// A node.
struct Caller {
    sidecar: Sidecar,
    /// What it may hold.
    entitlements: Vec<String>,
}

/// What batches took.
pub struct Batches {
    /// CPU of the control plane for one SVID.
    pub cpu: Duration,
    /// SVIDs a second, by the clock.
    pub rate: f64,
    /// How long each batch took.
    pub took: Vec<Duration>,
}

impl Bench {
    /// A control plane on these cores, with so many nodes of [`BATCH`] entitlements each.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(cores: Option<&str>, nodes: usize) -> Result<Self> {
        Self::of(vec![Plane::start(cores).await?], nodes).await
    }

    /// The same at control planes that are there, the nodes spread over them.
    ///
    /// # Errors
    /// There is no control plane, or one refuses.
    pub async fn of(mut planes: Vec<Plane>, nodes: usize) -> Result<Self> {
        let mut callers = Vec::new();
        for node in 0..nodes {
            callers.push(Caller::start(&planes[node % planes.len()], node).await?);
        }
        Ok(Self {
            plane: planes.remove(0),
            others: planes,
            callers,
        })
    }

    /// The processes that are measured.
    pub fn pids(&self) -> Vec<u32> {
        let others = self.others.iter().map(Plane::pid);
        std::iter::once(self.plane.pid()).chain(others).collect()
    }

    /// SVIDs of the first node one after the other, each followed by one primitive, whose caches
    /// are then as cold: CPU of one and of one primitive, and how long each took.
    ///
    /// # Errors
    /// One was refused.
    pub async fn singly(
        &mut self,
        count: u32,
        primitive: &Primitive,
    ) -> Result<(Duration, Duration, Vec<Duration>)> {
        let caller = &mut self.callers[0];
        let requests = caller.requests(usize::try_from(count)?);
        let prepared: Vec<_> = requests.iter().map(|_| prepared()).collect();
        let mut took = Vec::with_capacity(requests.len());
        let mut least = Duration::ZERO;
        let cpu = Cpu::of(self.plane.pid())?;
        for (request, prepared) in requests.into_iter().zip(&prepared) {
            let begun = Instant::now();
            caller.sidecar.enrol(vec![request]).await?;
            took.push(begun.elapsed());
            least += primitive.cpu_of_one(prepared)?;
        }
        Ok((cpu.since()? / count, least / count, took))
    }

    /// CPU of one SVID of the first node, where each is a call of its own and [`BATCH`] calls are
    /// under way at once.
    ///
    /// # Errors
    /// One was refused.
    pub async fn side_by_side(&mut self, count: usize) -> Result<Duration> {
        let caller = &mut self.callers[0];
        let batches = (0..count).map(|_| caller.requests(BATCH)).collect();
        let cpu = Cpu::of(self.plane.pid())?;
        caller.enrol(batches, 1).await?;
        Ok(cpu.since()? / u32::try_from(count * BATCH)?)
    }

    /// So many batches of [`BATCH`] on each node, one after the other; the nodes side by side.
    ///
    /// # Errors
    /// One was refused.
    pub async fn batches(&mut self, count: usize) -> Result<Batches> {
        let prepare =
            |caller: &Caller| -> Vec<_> { (0..count).map(|_| caller.requests(BATCH)).collect() };
        let prepared: Vec<_> = self.callers.iter().map(prepare).collect();
        let (cpu, begun) = (Cpu::of_all(&self.pids())?, Instant::now());
        let work = self.callers.iter_mut().zip(prepared);
        let work = work.map(|(caller, batches)| caller.enrol(batches, BATCH));
        let took = try_join_all(work).await?;
        let (clock, cpu) = (begun.elapsed(), cpu.since()?);
        let took = took.concat();
        let issued = u32::try_from(took.len() * BATCH)?;
        Ok(Batches {
            cpu: cpu / issued,
            rate: f64::from(issued) / clock.as_secs_f64(),
            took,
        })
    }
}

impl Caller {
    async fn start(plane: &Plane, node: usize) -> Result<Self> {
        let pairs = (0..BATCH).map(|workload| (node, workload));
        let entitlements = plane.admin.register(pairs).await?;
        let tokens = plane.admin.tokens(std::iter::once(node)).await?;
        let node = Node::attest(plane.address, &tokens[0]).await?;
        let sidecar = node.connect(plane.address).await?;
        Ok(Self {
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

    /// How long each batch took, in calls of so many keys.
    async fn enrol(
        &mut self,
        batches: Vec<Vec<Enrolment>>,
        keys_of_a_call: usize,
    ) -> Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(batches.len());
        for batch in batches {
            let begun = Instant::now();
            self.sidecar.enrol_in_calls(batch, keys_of_a_call).await?;
            took.push(begun.elapsed());
        }
        Ok(took)
    }
}

/// Ratio to the primitive, and latency.
///
/// # Errors
/// The control plane does not start, or refuses.
pub async fn against_the_primitive(report: Report) -> Result<()> {
    let mut bench = Bench::start(None, 1).await?;
    let primitive = Primitive::new()?;
    let mut transport = Transport::start(false).await?;
    let mut durable = Transport::start(true).await?;
    let mut rounds = Rounds::default();
    bench.batches(2).await?;
    transport.batches(2).await?;
    for _ in 0..ROUNDS {
        let least = primitive.cpu(PER_ROUND)?;
        let (single, paced, took) = bench.singly(PER_ROUND, &primitive).await?;
        let side_by_side = bench.side_by_side(PER_ROUND as usize / BATCH).await?;
        let batched = bench.batches(PER_ROUND as usize / BATCH).await?;
        let carried = transport.singly(PER_ROUND, &primitive).await?;
        let kept = durable.singly(PER_ROUND, &primitive).await?;
        let carried_in_batches = transport.batches(PER_ROUND as usize / BATCH).await?;
        rounds.took.extend(took);
        rounds.batches.extend(batched.took);
        rounds.cpu.push(Round {
            primitive: least,
            paced_primitive: paced,
            single,
            side_by_side,
            batched: batched.cpu,
            carried,
            kept,
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
    /// A call each, a hundred calls at once.
    side_by_side: Duration,
    batched: Duration,
    /// By a server that only carries messages.
    carried: Duration,
    /// By one that writes to disk besides.
    kept: Duration,
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
        let kept = "transport and a durable write, one at a time";
        report.micros(kept, cpu(|it| it.kept));
        report.micros("one at a time", cpu(|it| it.single));
        let single = ratio(|it| it.single, |it| it.primitive);
        report.figure("one at a time, to the primitive in a loop", single, "×");
        let paced = ratio(|it| it.single, |it| it.paced_primitive);
        report.figure("one at a time, to the primitive one at a time", paced, "×");
        let least = |it: &Round| it.paced_primitive + it.kept;
        let floor = "those two and the primitive, one at a time, to it in a loop";
        report.figure(floor, ratio(least, |it| it.primitive), "×");
        let all = "one at a time, to all three";
        report.figure(all, ratio(|it| it.single, least), "×");
        let calls = "a call each, 100 calls at once";
        report.micros(calls, cpu(|it| it.side_by_side));
        let each = ratio(|it| it.side_by_side, |it| it.primitive);
        report.figure(&format!("{calls}, to the primitive in a loop"), each, "×");
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
    let title = "SVIDs a second, batches of 100 on each of";
    report.title(&format!("{title} {NODES} nodes, with them on this machine"));
    for (name, cores) in [("one core", Some("0")), ("two cores", None)] {
        let mut bench = Bench::start(cores, NODES).await?;
        bench.batches(1).await?;
        let (mut rates, mut cpu) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let batches = bench.batches(BATCHES).await?;
            rates.push(batches.rate);
            cpu.push(1.0 / batches.cpu.as_secs_f64());
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
