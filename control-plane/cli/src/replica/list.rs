//! `countersign replica list`: every control plane that shares the database.

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::ListReplicasRequest;
use jiff::Timestamp;

use super::row::{self, Row};
use crate::client::{Client, failure, request};
use crate::output::{Items, Output, Printable};
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
        let rows = answer.map_err(failure)?.into_inner().items;
        let items = rows.into_iter().map(Row::from).collect();
        let look = self.wide.look();
        output.show(&Items { items }, |it| text(&it.items, now, look))?;
        Ok(Exit::Yes)
    }
}

pub(super) fn text(items: &[Row], now: Timestamp, look: Look) -> Printable {
    row::table(items, now, look, ALONE)
}
