//! What the sidecar's proxy costs: memory beside Envoy's, CPU for a connection.
//!
//! Run: `cargo bench -p countersign-benches --bench sidecar -- WHAT`, one or more of `memory` (wants
//! `tests/setup.sh .venv` first, for Envoy) and `connections`; `--json` prints JSON lines.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use countersign_benches::issuance::report::Report;
use countersign_benches::programs::Program;
use countersign_benches::proxy::{connections, footprint};
use countersign_serve::raise_descriptor_limit;

#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; everything where nothing is said
    #[arg(value_enum)]
    what: Vec<What>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// Added by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Memory,
    Connections,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { what, json, .. } = Arguments::parse();
    raise_descriptor_limit()?;
    Program::ControlPlane.build()?;
    Program::Sidecar.build()?;
    let report = Report { json };
    let what = match &what[..] {
        [] => What::value_variants(),
        some => some,
    };
    for what in what {
        match what {
            What::Memory => footprint::beside_envoy(report).await?,
            What::Connections => connections::by_uid_and_without(report).await?,
        }
    }
    Ok(())
}
