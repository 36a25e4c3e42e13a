//! `countersign export`: every registration, as `countersign apply` reads it.

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::ListRequest;

use crate::client::Client;
use crate::document::{Json, yaml};
use crate::output::Output;
use crate::registration::listed;

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    countersign export > registrations.yaml\n  \
    countersign export --json > registrations.json\n  \
    countersign export | countersign apply -f - --dry-run    # changes nothing\n\n\
    Sorted by ID, node and selectors, without what the control plane sets by itself.";

#[derive(Debug, Args)]
pub(crate) struct Export {}

impl Export {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let file = Json::of(listed(client, ListRequest::default()).await?);
        output.show(&file, yaml)?;
        Ok(Exit::Yes)
    }
}
