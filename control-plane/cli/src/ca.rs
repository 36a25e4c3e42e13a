//! `countersign ca …`: authorities, their key stores and their rotation.

mod external;
mod laggards;
pub(crate) mod rotation;
mod status;
mod waivers;

use std::io::{self, IsTerminal as _};

use clap::{Args, Subcommand};
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::{
    CaStatusRequest, LastRotationRequest, RotateProgress, RotateRequest,
};
use serde::Serialize;
use tonic::{Request, Streaming};

use crate::client::{Client, failure, request};
use crate::output::Output;
use crate::table::look::Wide;
use jiff::Timestamp;
use laggards::Laggards;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Every CA, every key store, and who has not acknowledged the newest bundle
    #[command(after_help = "Examples:\n  countersign ca status\n  countersign ca status --json")]
    Status(Wide),
    /// Make a new issuing CA and sign with it from now on; the bundle stays as it is
    #[command(after_help = "Examples:\n  \
        countersign ca rotate-issuing\n  \
        countersign ca rotate-issuing --wait    # until connected workloads renewed under it")]
    RotateIssuing(Rotate),
    /// Make a new root; it signs once every live consumer acknowledged it
    #[command(after_help = "Examples:\n  \
        countersign ca rotate-root           # activation follows by itself\n  \
        countersign ca rotate-root --wait    # says whom it waits for, returns when activated")]
    RotateRoot(Rotate),
    /// Make a new intermediate, and an issuing CA under it; the bundle stays as it is
    #[command(after_help = "Examples:\n  \
        countersign ca rotate-intermediate\n  \
        countersign ca rotate-intermediate --wait\n\n\
        Under an external root: see `ca csr` and `ca import`.")]
    RotateIntermediate(Rotate),
    /// How the fleet lived the newest rotation of the root: who acknowledged when, what failed
    #[command(after_help = rotation::EXAMPLES)]
    Rotation(Wide),
    /// Let a pending root go on without consumers that do not acknowledge its bundle
    #[command(after_help = waivers::WAIVE_EXAMPLES)]
    Waive(waivers::Waive),
    /// Have a pending root wait for a consumer again
    #[command(after_help = waivers::UNWAIVE_EXAMPLES)]
    Unwaive(waivers::Unwaive),
    /// Ask an external root for an intermediate: print a certificate request (PKCS#10, PEM)
    #[command(after_help = external::CSR_EXAMPLES)]
    Csr(external::Csr),
    /// Take over the intermediate that an external root signed
    #[command(after_help = external::IMPORT_EXAMPLES)]
    Import(external::Import),
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Return when the rotation is complete, and say whom it waits for
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Progress {
    state: String,
    key_id: String,
    #[serde(flatten)]
    laggards: Laggards,
}

impl Verb {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: Output,
        now: Timestamp,
    ) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        match self {
            Self::Status(wide) => {
                let answer = admin.ca_status(request(CaStatusRequest {})).await;
                let shown = status::Shown::from(answer.map_err(failure)?.into_inner());
                let look = wide.look();
                output.show(&shown, |shown| status::text(shown, now, look))?;
            }
            Self::Rotation(wide) => {
                let answer = admin.last_rotation(request(LastRotationRequest {})).await;
                let course = rotation::Course::from(answer.map_err(failure)?.into_inner());
                let look = wide.look();
                output.show(&course, |course| rotation::text(course, look))?;
            }
            // Waiting for consumers has no deadline of its own: Ctrl-C ends it.
            Self::RotateIssuing(Rotate { wait }) => {
                let stream = admin.rotate_issuing(Request::new(RotateRequest { wait }));
                follow(stream.await.map_err(failure)?.into_inner(), output).await?;
            }
            Self::RotateRoot(Rotate { wait }) => {
                let stream = admin.rotate_root(Request::new(RotateRequest { wait }));
                follow(stream.await.map_err(failure)?.into_inner(), output).await?;
            }
            Self::RotateIntermediate(Rotate { wait }) => {
                let stream = admin.rotate_intermediate(Request::new(RotateRequest { wait }));
                follow(stream.await.map_err(failure)?.into_inner(), output).await?;
            }
            Self::Waive(waive) => waive.run(&mut admin, output).await?,
            Self::Unwaive(unwaive) => unwaive.run(&mut admin, output).await?,
            Self::Csr(csr) => csr.run(&mut admin, output).await?,
            Self::Import(import) => import.run(&mut admin, output).await?,
        }
        Ok(Exit::Yes)
    }
}

/// Prints each step to stderr and the last one to stdout.
async fn follow(mut steps: Streaming<RotateProgress>, output: Output) -> Result<(), Failure> {
    let mut last = Progress::default();
    while let Some(step) = steps.message().await.map_err(failure)? {
        let step = Progress {
            state: step.state,
            key_id: step.key_id,
            laggards: Laggards::new(step.waiting_for, step.waiting_for_more),
        };
        if step != last {
            output.progress(&line(&step));
        }
        last = step;
    }
    // On a terminal the last step was shown as it came.
    if output.is_json() || !(io::stdout().is_terminal() && io::stderr().is_terminal()) {
        output.show(&last, line)?;
    }
    Ok(())
}

fn line(step: &Progress) -> String {
    let Progress { state, key_id, .. } = step;
    match step.laggards.line() {
        None => format!("{state} {key_id}"),
        Some(waiting) => format!("{state} {key_id}, {waiting}"),
    }
}
