//! What an issuance costs, against the primitive and against a peer.
//!
//! Run: `cargo bench -p countersign-benches --bench issuance -- cost`, or another of `throughput`,
//! `peer`, `cold`, `sidecars`, `curve`, `flat` and `lineages`; `--json` prints JSON lines. `peer`
//! wants `benches/peers.sh` first.

use anyhow::Result;
use clap::{Parser, ValueEnum};
use countersign_benches::issuance::report::Report;
use countersign_benches::issuance::{cost, fleet, growth, openbao, transport};
use countersign_benches::programs::Program;

/// As in the control plane, so that what is compared allocates alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; the first two where nothing is said
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
    Cost,
    Throughput,
    Peer,
    Cold,
    Sidecars,
    Curve,
    Flat,
    Lineages,
    /// The servers beside which `cost` measures; it starts them by itself
    #[value(hide = true)]
    TransportServer,
    #[value(hide = true)]
    DurableServer,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { mut what, json, .. } = Arguments::parse();
    if what.is_empty() {
        what = vec![What::Cost, What::Throughput];
    }
    if let [server @ (What::TransportServer | What::DurableServer)] = what[..] {
        return transport::serve(server == What::DurableServer).await;
    }
    Program::ControlPlane.build()?;
    let report = Report { json };
    for what in what {
        match what {
            What::Cost => cost::against_the_primitive(report).await?,
            What::Throughput => cost::throughput(report).await?,
            What::Peer => openbao::against(report).await?,
            What::Cold => fleet::cold(report).await?,
            What::Sidecars => fleet::sidecars(report).await?,
            What::Curve => growth::curve(report).await?,
            What::Flat => growth::flat(report).await?,
            What::Lineages => growth::lineages(report).await?,
            What::TransportServer | What::DurableServer => {}
        }
    }
    Ok(())
}
