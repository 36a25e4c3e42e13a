//! How cost and memory grow with what is registered and with what was issued.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::cost::{BATCH, Bench};
use super::cpu::{Cpu, resident};
use super::fleet::{attest, bring_up};
use super::plane::Plane;
use super::primitive::Primitive;
use super::report::{Report, median};
use super::sidecar::Sidecar;

/// Registrations beside those of the node that enrols.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// Nodes that the registrations are spread over.
const NODES: usize = 100;
/// Rounds at each size.
const ROUNDS: usize = 9;
/// SVIDs of the primitive in one round.
const PRIMITIVES: u32 = 400;
const BATCHES: usize = 10;
/// Lifetime of SVIDs while memory is looked at: the shortest that may be registered.
const LIFETIME: Duration = Duration::from_secs(20);
/// How many lifetimes are looked at.
const LIFETIMES: u32 = 8;

/// CPU for one SVID with more and more registrations.
///
/// # Errors
/// The control plane refuses.
pub async fn curve(report: Report) -> Result<()> {
    let mut bench = Bench::start(None, 1).await?;
    let primitive = Primitive::new()?;
    let mut registered = 0;
    report.title("CPU for one SVID in batches of 100, by registrations");
    for size in SIZES {
        let (cpu, begun) = (Cpu::of(bench.plane.pid())?, Instant::now());
        let pairs = (registered..size).map(|n| (1 + n % NODES, n / NODES));
        bench.plane.admin.register(pairs).await?;
        let added = (size - registered) as f64;
        let each = |seconds: f64| seconds / added * 1e6;
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu.since()?.as_secs_f64());
        registered = size;
        report.figure(
            &format!("{size}: a registration, by the clock"),
            each(wall),
            "µs",
        );
        report.figure(&format!("{size}: a registration, CPU"), each(cpu), "µs");
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let least = primitive.cpu(PRIMITIVES)?;
            let each = bench.batches(BATCHES).await?.cpu;
            ratios.push(each.div_duration_f64(least));
        }
        report.figure(
            &format!("{size}: one SVID, to the primitive"),
            median(ratios),
            "×",
        );
        megabytes(
            report,
            &format!("{size}: resident"),
            resident(bench.plane.pid())?,
        );
    }
    Ok(())
}

/// Memory while the same identities are issued again and again, as fast as it goes, over several
/// lifetimes: what is remembered of a certificate ends with it.
///
/// # Errors
/// The control plane refuses.
pub async fn flat(report: Report) -> Result<()> {
    let mut bench = Bench::start(None, 1).await?;
    let same = (0..BATCH).map(|workload| (0, workload));
    bench.plane.admin.register_for(Some(LIFETIME), same).await?;
    report.title("memory while issuing for the same 100 identities, by lifetimes of 20 s");
    let (mut issued, begun) = (0, Instant::now());
    for lifetime in 1..=LIFETIMES {
        while begun.elapsed() < lifetime * LIFETIME {
            bench.batches(1).await?;
            issued += BATCH;
        }
        let what = format!("after {lifetime}, {issued} issued");
        megabytes(report, &what, resident(bench.plane.pid())?);
    }
    let each = bench.plane.disk()? as f64 / issued as f64;
    report.figure(
        "on disk for one SVID, journal and checkpoints",
        each,
        "bytes",
    );
    Ok(())
}

/// Memory of 100 000 registrations, and of the lineages once all are enrolled.
///
/// # Errors
/// The control plane refuses.
pub async fn lineages(report: Report) -> Result<()> {
    let plane = Plane::start(None).await?;
    let count = SIZES[SIZES.len() - 1];
    let each = count / NODES;
    report.title("memory of 100 000 lineages, on 100 nodes");
    megabytes(report, "at start", resident(plane.pid())?);
    let pairs = (0..count).map(|n| (n / each, n % each));
    let names = plane.admin.register(pairs).await?;
    let nodes = attest(&plane, NODES).await?;
    megabytes(report, "registered", resident(plane.pid())?);
    let shares = names.chunks(each).map(|names| names.chunks(BATCH));
    for (node, batches) in nodes.iter().zip(shares) {
        let done = batches.map(|batch| bring_up(node, plane.address, batch));
        let _: Vec<Sidecar> = stream::iter(done).buffered(1).try_collect().await?;
    }
    megabytes(report, "enrolled", resident(plane.pid())?);
    Ok(())
}

fn megabytes(report: Report, what: &str, bytes: u64) {
    report.figure(what, bytes as f64 / 1e6, "MB");
}
