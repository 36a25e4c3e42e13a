//! `countersign ca …`: authorities, their key stores and their rotation.

mod external;
pub(crate) mod laggards;
mod moving_keys;
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
use tonic::{Request, Response, Status, Streaming};

use crate::called::Called;
use crate::client::{Client, failure, request};
use crate::output::Output;
use crate::table::look::Wide;
use jiff::Timestamp;
use laggards::{Awaited, Laggards};

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
    /// Move the keys above issuing CAs from here into a file, for another control plane
    #[command(after_help = moving_keys::GIVE_EXAMPLES)]
    GiveKey(moving_keys::Give),
    /// Take over the keys that another control plane gave away: this one certifies CAs from now on
    #[command(after_help = moving_keys::TAKE_EXAMPLES)]
    TakeKey(moving_keys::Take),
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
                output.show(&shown, |shown| {
                    status::text(shown, now, look, client.called())
                })?;
            }
            Self::Rotation(wide) => {
                let answer = admin.last_rotation(request(LastRotationRequest {})).await;
                let course = rotation::Course::from(answer.map_err(failure)?.into_inner());
                let look = wide.look();
                output.show(&course, |course| rotation::text(course, look))?;
            }
            // Waiting for consumers has no deadline of its own: Ctrl-C ends it.
            Self::RotateIssuing(Rotate { wait }) => {
                let steps = admin.rotate_issuing(Request::new(RotateRequest { wait }));
                follow(steps.await, Awaited::Renewals, client, output).await?;
            }
            Self::RotateRoot(Rotate { wait }) => {
                let steps = admin.rotate_root(Request::new(RotateRequest { wait }));
                follow(steps.await, Awaited::Acknowledgements, client, output).await?;
            }
            Self::RotateIntermediate(Rotate { wait }) => {
                let steps = admin.rotate_intermediate(Request::new(RotateRequest { wait }));
                follow(steps.await, Awaited::Renewals, client, output).await?;
            }
            Self::Waive(waive) => waive.run(&mut admin, output, now).await?,
            Self::Unwaive(unwaive) => unwaive.run(&mut admin, output).await?,
            Self::Csr(csr) => csr.run(&mut admin, output).await?,
            Self::Import(import) => import.run(&mut admin, output, now).await?,
            Self::GiveKey(give) => give.run(&mut admin, output, client.called()).await?,
            Self::TakeKey(take) => take.run(&mut admin, output).await?,
        }
        Ok(Exit::Yes)
    }
}

/// Prints each step to stderr and the last one to stdout.
async fn follow(
    steps: Result<Response<Streaming<RotateProgress>>, Status>,
    awaited: Awaited,
    client: &Client,
    output: Output,
) -> Result<(), Failure> {
    let mut steps = steps.map_err(failure)?.into_inner();
    let text = |step: &Progress| step.text(awaited, client.called(), crate::clock::now());
    let mut last = Progress::default();
    while let Some(step) = steps.message().await.map_err(failure)? {
        let step = Progress {
            state: step.state,
            key_id: step.key_id,
            laggards: Laggards::of(step.laggards, step.waiting_for_more),
        };
        if !step.is_told_by(&last) {
            output.progress(text(&step));
        }
        last = step;
    }
    // On a terminal the last step was shown as it came.
    if output.is_json() || !(io::stdout().is_terminal() && io::stderr().is_terminal()) {
        output.show(&last, text)?;
    }
    Ok(())
}

impl Progress {
    /// Whether it says nothing that the step before it did not.
    fn is_told_by(&self, before: &Self) -> bool {
        let goes_on = self.state == WAITING || self.state == before.state;
        goes_on && self.key_id == before.key_id && self.laggards == before.laggards
    }

    /// What is done, whom it waits for and, of a root, how it goes on without them.
    fn text(&self, awaited: Awaited, called: &Called, now: Timestamp) -> String {
        let Self { state, key_id, .. } = self;
        let Some(waits) = self.laggards.text(awaited, now) else {
            return format!("{state} {key_id}");
        };
        let commands = match awaited {
            Awaited::Acknowledgements => self.laggards.commands(called),
            Awaited::Renewals => Vec::new(),
        };
        let without = commands.first().map_or_else(String::new, |command| {
            format!("\nwithout one of them, for a time:\n  {command}")
        });
        format!("{state} {key_id}, {waits}{without}")
    }
}

/// The state of a rotation that was begun.
const WAITING: &str = "waiting";

#[cfg(test)]
mod tests {
    use super::*;
    use laggards::Laggard;

    fn step(state: &str, waiting: &[&str]) -> Progress {
        let laggard = |it: &&str| Laggard {
            consumer: (*it).to_owned(),
            connected: false,
            replica: None,
            until: Timestamp::from_second(3_600).ok(),
        };
        Progress {
            state: state.to_owned(),
            key_id: "0a1b".to_owned(),
            laggards: Laggards::new(waiting.iter().map(laggard).collect(), 0),
        }
    }

    #[test]
    fn a_root_says_for_how_long_it_waits_and_how_it_goes_on() {
        let text = |awaited| {
            let step = step("waiting", &["node/a proxy"]);
            step.text(awaited, &Called::default(), Timestamp::UNIX_EPOCH)
        };
        assert_eq!(
            text(Awaited::Acknowledgements),
            "waiting 0a1b, waits for 1 consumer, at the latest until 1970-01-01T01:00:00Z (in 60 min)\n  \
             node/a proxy, not connected, until 1970-01-01T01:00:00Z (in 60 min)\n\
             without one of them, for a time:\n  \
             countersign ca waive --consumer 'node/a proxy' --reason WHY --for 24h"
        );
        let renewals = text(Awaited::Renewals);
        assert!(!renewals.contains("waive"), "{renewals}");
    }

    #[test]
    fn what_is_known_is_not_told_again() {
        let prepared = step("prepared", &["a", "b"]);
        assert!(step("waiting", &["a", "b"]).is_told_by(&prepared));
        assert!(!step("waiting", &["a"]).is_told_by(&prepared));
        assert!(!step("activated", &["a", "b"]).is_told_by(&prepared));
        assert!(!prepared.is_told_by(&Progress::default()));
    }
}
