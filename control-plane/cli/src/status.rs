//! `countersign status`: wanted, acknowledged and served, node by node.

mod listeners;
pub(crate) mod phrase;
mod refused;
mod rows;
mod shape;
mod verdict;
mod watch;

use std::time::Duration;

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_model::SpiffeId;
use countersign_proto::admin::StatusRequest;

use crate::called::Called;
use crate::client::{Client, failure, next, request};
use crate::distance::between;
use crate::output::{Output, Printable, count};
use crate::replica::row;
use crate::table::look::{Look, Wide};
use jiff::Timestamp;
use rows::Making;
pub(crate) use shape::{Consumer, Endpoint, Node, Shown};

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    countersign status\n  \
    countersign status --problems\n  \
    countersign status --check --json > status.json || notify-operator\n  \
    countersign status --watch --interval 5s\n  \
    countersign status --id spiffe://example.org/pay\n  \
    countersign status --json | jq '.nodes[] | select(.connected | not) | .id'";

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// This node alone
    #[arg(long)]
    node: Option<SpiffeId>,
    /// This SPIFFE ID and those below it
    #[arg(long)]
    id: Option<SpiffeId>,
    /// Only what needs attention
    #[arg(long)]
    problems: bool,
    /// Every row; otherwise the first 100 of each table, those that need attention first
    #[arg(long)]
    all: bool,
    /// End with exit code 5 where something needs attention, or the filter finds nothing
    #[arg(long, conflicts_with = "watch")]
    check: bool,
    /// Show it again and again, in place on a terminal, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How often
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = interval,
        default_value = "2s",
        requires = "watch"
    )]
    interval: Duration,
    #[command(flatten)]
    wide: Wide,
}

/// How often a watch asks at most.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

fn interval(text: &str) -> Result<Duration, String> {
    let interval = countersign_cli::duration::argument(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err("at least 100ms".to_owned());
    }
    Ok(interval)
}

impl Status {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: Output,
        now: Timestamp,
    ) -> Result<Exit, Failure> {
        if self.watch {
            return watch::run(&self, client, output).await;
        }
        let shown = self.ask(client).await?;
        let look = self.wide.look();
        output.show(&shown, |shown| match self.finds_nothing(shown) {
            true => nothing(client.called()).into(),
            false => text(shown, now, look, self.all, client.called()),
        })?;
        Ok(self.exit(&shown))
    }

    /// How it ends: whatever is shown is an answer, unless it is to be judged.
    fn exit(&self, shown: &Shown) -> Exit {
        let is_well = !self.finds_nothing(shown) && verdict::is_well(shown);
        match is_well || !self.check {
            true => Exit::Yes,
            false => Exit::Attention,
        }
    }

    /// A typing error is no good news.
    fn finds_nothing(&self, shown: &Shown) -> bool {
        let is_filtered = self.node.is_some() || self.id.is_some();
        // One that was only ever refused has no row.
        let refused = &shown.refused_attestations;
        let is_named = self.node.as_ref().is_some_and(|it| refused.names(it));
        is_filtered && !is_named && shown.totals.nodes == 0 && shown.totals.endpoints == 0
    }

    async fn ask(&self, client: &Client) -> Result<Shown, Failure> {
        let text =
            |id: &Option<SpiffeId>| id.as_ref().map_or_else(String::new, SpiffeId::to_string);
        let asked = StatusRequest {
            node: text(&self.node),
            id: text(&self.id),
            problems: self.problems,
        };
        ask(client, asked).await
    }
}

/// All that there is to know, whoever asks.
pub(crate) async fn everything(client: &Client) -> Result<Shown, Failure> {
    ask(client, StatusRequest::default()).await
}

async fn ask(client: &Client, asked: StatusRequest) -> Result<Shown, Failure> {
    let mut admin = client.connect().await?;
    let answer = admin.status(request(asked)).await;
    let mut messages = answer.map_err(failure)?.into_inner();
    let mut shown = Shown::default();
    while let Some(message) = next(&mut messages).await? {
        shown.take_in(message);
    }
    Ok(shown)
}

fn nothing(called: &Called) -> String {
    let [nodes, all] = ["node list", "list"].map(|verb| called.command(verb));
    format!(
        "no node and no identity on a node passes this filter: `{nodes}` and `{all}` show what there is"
    )
}

/// The verdict, what is wrong, what is known of the control plane, then the rows.
fn text(shown: &Shown, now: Timestamp, look: Look, all: bool, called: &Called) -> Printable {
    let now = shown.at.unwrap_or(now);
    let making = Making::of(shown, now, look, all);
    let parts = [
        verdict::text(shown, now, look, called),
        facts(shown, now, &making, called),
        replicas(shown, now, look),
        refused::table(&shown.refused_attestations, &making, called),
        rows::endpoints(shown, &making),
        rows::nodes(shown, &making),
        rows::consumers(shown, &making),
        listeners::table(&shown.listeners, look),
    ];
    Printable::join(parts, "\n\n")
}

/// Nothing of one that is alone.
fn replicas(shown: &Shown, now: Timestamp, look: Look) -> Printable {
    row::table(&shown.replicas, now, look, "")
}

fn facts(shown: &Shown, now: Timestamp, making: &Making, called: &Called) -> Printable {
    let up = shown.started_at.map(|at| between(at, now));
    let version = shown.bundle_version.as_ref();
    let lines = [
        format!(
            "{}, version {}, up for {}",
            shown.trust_domain,
            shown.version,
            up.unwrap_or_default()
        ),
        format!(
            "API {}, telemetry {}",
            shown.api_address, shown.telemetry_address
        ),
        format!(
            "bundle {}, {}, {} behind",
            making.versions.cell(version),
            count(shown.totals.consumers, "consumer"),
            shown.totals.consumers_behind
        ),
        format!(
            "{}: {} refused, {} by hand",
            count(shown.registrations, "registration"),
            shown.registrations_refused,
            shown.registrations_by_hand
        ),
        format!(
            "issued: {}, {}, {} of its own",
            count(shown.svids_issued, "SVID"),
            count(shown.cas_issued, "CA"),
            count(shown.server_certificates_issued, "certificate")
        ),
    ];
    let level = shown.level.as_ref().filter(|it| it.is_behind());
    let level = level.map(|it| it.told(called));
    Printable::from(
        lines
            .into_iter()
            .chain(level)
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

#[cfg(test)]
mod tests;
