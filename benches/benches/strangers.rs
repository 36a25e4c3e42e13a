//! What strangers cost: memory, CPU and log lines of the real daemons under floods, and what an
//! honest caller waits meanwhile.
//!
//! Run as root: `cargo bench -p countersign-benches --bench strangers -- WHAT`, one or more of
//! `connections`, `calls` and `nodes` against the control plane, `inbound`, `registered`,
//! `unregistered` and `work` against the sidecar; `--json` prints JSON lines.

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use countersign_benches::issuance::report::Report;
use countersign_benches::programs::Program;
use countersign_benches::strangers::caller::Caller;
use countersign_benches::strangers::socket::{REGISTERED, UNREGISTERED};
use countersign_benches::strangers::stranger::{Act, Stranger};
use countersign_benches::strangers::{inbound, plane, socket};
use countersign_serve::raise_descriptor_limit;

#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
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
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this executable is when it is a flood.
#[derive(Debug, Subcommand)]
enum Role {
    #[command(hide = true)]
    Caller(Caller),
    #[command(hide = true)]
    Stranger(Stranger),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Connections,
    Calls,
    Nodes,
    Inbound,
    Registered,
    Unregistered,
    Work,
}

/// Of strangers.
const CALLS: &[Act] = &[
    Act::Enrolments,
    Act::Attestations,
    Act::ManyAttestations,
    Act::Heads,
    Act::EndlessHeads,
];
/// With the certificate of a node.
const NODES: &[Act] = &[Act::NodeEnrolments, Act::NodeNames, Act::NodeLongNames];

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments {
        what, json, role, ..
    } = Arguments::parse();
    raise_descriptor_limit()?;
    match role {
        Some(Role::Caller(caller)) => return caller.run().await,
        Some(Role::Stranger(stranger)) => return stranger.run().await,
        None => {}
    }
    Program::ControlPlane.build()?;
    Program::Sidecar.build()?;
    let report = Report { json };
    let what = match &what[..] {
        [] => What::value_variants(),
        some => some,
    };
    for what in what {
        match what {
            What::Connections => plane::floods(report, &[Act::Connections]).await?,
            What::Calls => plane::floods(report, CALLS).await?,
            What::Nodes => plane::floods(report, NODES).await?,
            What::Inbound => inbound::floods(report).await?,
            What::Registered => socket::memory(report, &REGISTERED).await?,
            What::Unregistered => socket::memory(report, &UNREGISTERED).await?,
            What::Work => socket::work(report).await?,
        }
    }
    Ok(())
}
