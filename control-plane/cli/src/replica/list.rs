//! `countersign replica list`: every control plane that shares the database.

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::ListReplicasRequest;
use jiff::Timestamp;

use serde::Serialize;

use super::level::Level;
use super::row::{self, Row};
use crate::client::{Client, failure, request};
use crate::output::{Output, Printable};
use crate::table::Look;
use crate::table::look::Wide;

/// What is said where there is none: the state is in files.
const ALONE: &str =
    "this control plane is alone: its state is in data_dir, and several need store.url";

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    wide: Wide,
}

impl List {
    pub(super) async fn run(
        self,
        client: &Client,
        output: Output,
        now: Timestamp,
    ) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        let answer = admin.list_replicas(request(ListReplicasRequest {})).await;
        let answer = answer.map_err(failure)?.into_inner();
        let listed = Listed {
            items: answer.items.into_iter().map(Row::from).collect(),
            level: answer.level.map(Level::from),
        };
        let (look, called) = (self.wide.look(), client.called());
        output.show(&listed, |it| {
            let level = it.level.as_ref().map(|it| it.told(called));
            let parts = [text(&it.items, now, look), level.unwrap_or_default().into()];
            Printable::join(parts, "\n\n")
        })?;
        Ok(Exit::Yes)
    }
}

#[derive(Debug, Serialize)]
struct Listed {
    items: Vec<Row>,
    /// None from a control plane of before there were levels.
    level: Option<Level>,
}

pub(super) fn text(items: &[Row], now: Timestamp, look: Look) -> Printable {
    row::table(items, now, look, ALONE)
}
