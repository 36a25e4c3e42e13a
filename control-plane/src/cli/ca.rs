//! `countersign ca …`: authorities and their rotation.

use clap::{Args, Subcommand};
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::{
    Authority, CaStatusRequest, CaStatusResponse, RotateProgress, RotateRequest,
};
use serde::Serialize;
use tonic::{Request, Streaming};

use super::client::{Client, failure, request, time};
use super::output::{Output, cell, table};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Roots, issuing CAs and who has not acknowledged the newest bundle
    #[command(after_help = "Examples:\n  countersign ca status\n  countersign ca status --json")]
    Status,
    /// Make a new issuing CA and sign with it from now on; the bundle stays as it is
    #[command(after_help = "Examples:\n  \
        countersign ca rotate-issuing\n  \
        countersign ca rotate-issuing --wait    # until every workload of a connected node renewed under it")]
    RotateIssuing(Rotate),
    /// Make a new root; it signs once every live consumer acknowledged it
    #[command(after_help = "Examples:\n  \
        countersign ca rotate-root           # activation follows by itself\n  \
        countersign ca rotate-root --wait    # says whom it waits for, returns when activated")]
    RotateRoot(Rotate),
}

#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Return when the rotation is complete, and say whom it waits for
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    roots: Vec<ShownAuthority>,
    issuing: Vec<ShownAuthority>,
    bundle_version: String,
    waiting_for: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownAuthority {
    key_id: String,
    subject: String,
    state: String,
    not_before: Option<jiff::Timestamp>,
    not_after: Option<jiff::Timestamp>,
    issued_by: String,
    serial: String,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Progress {
    state: String,
    key_id: String,
    waiting_for: Vec<String>,
}

impl Verb {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        match self {
            Self::Status => {
                let answer = admin.ca_status(request(CaStatusRequest {})).await;
                let shown = Shown::from(answer.map_err(failure)?.into_inner());
                output.show(&shown, text)?;
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
            waiting_for: step.waiting_for,
        };
        if step != last {
            output.progress(&line(&step));
        }
        last = step;
    }
    output.show(&last, line)
}

fn line(step: &Progress) -> String {
    let Progress { state, key_id, .. } = step;
    match step.waiting_for.as_slice() {
        [] => format!("{state} {key_id}"),
        waiting => format!("{state} {key_id}, waiting for {}", waiting.join(", ")),
    }
}

fn text(shown: &Shown) -> String {
    let row = |role: &str, it: &ShownAuthority| {
        [
            role.to_owned(),
            it.state.clone(),
            it.key_id.clone(),
            cell(it.not_before),
            cell(it.not_after),
            it.issued_by.clone(),
        ]
    };
    let roots = shown.roots.iter().map(|it| row("root", it));
    let issuing = shown.issuing.iter().map(|it| row("issuing", it));
    let authorities = table(
        [
            "ROLE",
            "STATE",
            "KEY ID",
            "NOT BEFORE",
            "NOT AFTER",
            "ISSUED BY",
        ],
        roots.chain(issuing),
        "no authority",
    );
    let waiting = match shown.waiting_for.as_slice() {
        [] => "every live consumer has acknowledged it".to_owned(),
        waiting => format!("waiting for {}", waiting.join(", ")),
    };
    format!(
        "{authorities}\n\nbundle {}: {waiting}",
        shown.bundle_version
    )
}

impl From<CaStatusResponse> for Shown {
    fn from(wire: CaStatusResponse) -> Self {
        let shown = |it: Vec<Authority>| it.into_iter().map(ShownAuthority::from).collect();
        Self {
            roots: shown(wire.roots),
            issuing: shown(wire.issuing),
            bundle_version: wire.bundle_version,
            waiting_for: wire.waiting_for,
        }
    }
}

impl From<Authority> for ShownAuthority {
    fn from(wire: Authority) -> Self {
        Self {
            key_id: wire.key_id,
            subject: wire.subject,
            state: wire.state,
            not_before: time(wire.not_before),
            not_after: time(wire.not_after),
            issued_by: wire.issued_by,
            serial: wire.serial,
        }
    }
}
