//! Several control planes on one PostgreSQL: how fast one follows the other, what issuing costs, and what
//! many sidecars do.
//!
//! Run: `cargo bench -p countersign-benches --bench replicas -- WHAT`, one or more of `reach`, `issuing`,
//! `connections`, `change`, `storm` and `everybody`; `--sidecars N` for another fleet than 10 000, `--hasty`
//! for one without patience, `--json` for JSON lines. It wants PostgreSQL (`tests/setup.sh .venv`) and 20 000 descriptors, and leaves nothing
//! behind. A minute or two for each on a machine left alone; to make 10 000 sidecars ready takes several on a crowded one. `connections`, `change` and `storm` share a fleet
//! where they are asked for together.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use countersign_benches::issuance::report::Report;
use countersign_benches::programs::Program;
use countersign_benches::replicas::change::{Changes, for_everybody};
use countersign_benches::replicas::fleet::Manner;
use countersign_benches::replicas::prepared::Prepared;
use countersign_benches::replicas::{connections, issuing, reach, storm};
use countersign_serve::raise_descriptor_limit;

/// As in the control plane: sidecars that are simulated take no share of it that an allocator decides.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; everything where nothing is said
    #[arg(value_enum)]
    what: Vec<What>,
    /// How many sidecars there are
    #[arg(long, default_value_t = 10_000)]
    sidecars: usize,
    /// They give a connection up that does not answer for 0.8 s, though they know of no better one
    #[arg(long)]
    hasty: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// Added by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Reach,
    Issuing,
    Connections,
    Change,
    Storm,
    Everybody,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments {
        mut what,
        sidecars,
        hasty,
        json,
        ..
    } = Arguments::parse();
    let manner = match hasty {
        true => Manner::Hasty,
        false => Manner::Patient,
    };
    raise_descriptor_limit()?;
    Program::ControlPlane.build()?;
    let report = Report { json };
    if what.is_empty() {
        what = What::value_variants().to_owned();
    }
    loads(report)?;
    if what.contains(&What::Reach) {
        reach::across(report).await?;
    }
    if what.contains(&What::Issuing) {
        issuing::beside_sqlite(report).await?;
    }
    let of_a_fleet = [What::Connections, What::Change, What::Storm];
    if of_a_fleet.iter().any(|it| what.contains(it)) {
        fleet(report, sidecars, manner, &what).await?;
    }
    if what.contains(&What::Everybody) {
        let mut prepared = Prepared::start(sidecars, manner).await?;
        let fleet = prepared.connect().await?;
        report.title(&format!("a change beside {sidecars} idle streams"));
        for_everybody(report, &prepared, &fleet).await?;
    }
    loads(report)
}

/// What a fleet is needed for, in turn.
async fn fleet(report: Report, sidecars: usize, manner: Manner, what: &[What]) -> Result<()> {
    let mut prepared = Prepared::start(sidecars, manner).await?;
    let mut without = None;
    if what.contains(&What::Change) {
        report.title(&format!(
            "CPU of a change that another control plane commits, {sidecars} nodes"
        ));
        let changes = Changes::of(&prepared);
        let title = "none of them connected";
        without = Some(changes.of_one_node(report, title, sidecars).await?);
    }
    let fleet = match what.contains(&What::Connections) {
        true => connections::curve(report, &mut prepared).await?,
        false => prepared.connect().await?,
    };
    if let Some(without) = without {
        report.title(&format!(
            "CPU of a change that another control plane commits, {sidecars} nodes"
        ));
        let changes = Changes::of(&prepared);
        let title = "all of them connected and idle";
        let beside = changes.of_one_node(report, title, sidecars).await?;
        report.figure("all connected, to none", beside / without, "×");
    }
    if what.contains(&What::Storm) {
        storm::after_a_kill(report, &mut prepared, &fleet).await?;
    }
    Ok(())
}

/// How busy the machine is, for whoever reads the figures.
fn loads(report: Report) -> Result<()> {
    let loads = std::fs::read_to_string("/proc/loadavg")?;
    let newest = loads.split(' ').next().unwrap_or_default();
    report.title("the machine");
    report.figure("load, of the last minute", newest.parse()?, "");
    Ok(())
}
