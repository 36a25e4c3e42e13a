//! `countersign list`: the registrations that pass a filter.

use std::time::Duration;

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_model::SpiffeId;
use countersign_proto::admin::{ListRequest, Registration};
use countersign_proto::convert::time::duration;
use jiff::Timestamp;

use super::{Shown, label};
use crate::client::{Client, failure, next, request};
use crate::distance::{relative, to_the_second};
use crate::output::{Items, Output, Printable, filled};
use crate::table::look::Wide;
use crate::table::{Cell, Keep, Look, Table, Tone};

pub(crate) const LIST_EXAMPLES: &str = "Examples:\n  countersign list\n  countersign list --id spiffe://example.org/pay --label env=prod\n  \
    countersign list --ends-within 7d\n  countersign list --json | jq '.items[].id'";

/// `countersign list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// This SPIFFE ID and those below it
    #[arg(long)]
    id: Option<SpiffeId>,
    /// On this node
    #[arg(long)]
    node: Option<SpiffeId>,
    /// With this owner
    #[arg(long, default_value = "", hide_default_value = true)]
    owner: String,
    /// With this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Whose right ends within this time
    #[arg(long, value_parser = countersign_cli::duration::argument, value_name = "DURATION")]
    ends_within: Option<Duration>,
    #[command(flatten)]
    wide: Wide,
}

impl List {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: Output,
        now: Timestamp,
    ) -> Result<Exit, Failure> {
        let text = |id: Option<SpiffeId>| id.map_or_else(String::new, |id| id.to_string());
        let asked = ListRequest {
            id: text(self.id),
            node: text(self.node),
            owner: self.owner,
            labels: self.labels.into_iter().collect(),
            ends_within: self.ends_within.map(duration),
        };
        let items = listed(client, asked).await?.into_iter();
        let mut items: Vec<_> = items.map(Shown::from).collect();
        items.sort_by(|a, b| a.order().cmp(&b.order()));
        let look = self.wide.look();
        output.show(&Items { items }, |list| list_text(&list.items, now, look))?;
        Ok(Exit::Yes)
    }
}

/// The registrations that are asked for: the answer comes in pages.
pub(crate) async fn listed(
    client: &Client,
    asked: ListRequest,
) -> Result<Vec<Registration>, Failure> {
    let mut admin = client.connect().await?;
    let mut pages = admin
        .list(request(asked))
        .await
        .map_err(failure)?
        .into_inner();
    let mut items = Vec::new();
    while let Some(page) = next(&mut pages).await? {
        items.extend(page.items);
    }
    Ok(items)
}

fn list_text(items: &[Shown], now: Timestamp, look: Look) -> Printable {
    let is_any_refused = items.iter().any(|it| it.refused.is_some());
    let refused = if is_any_refused {
        Keep::Always
    } else {
        Keep::Unless(9)
    };
    let table = Table::new([
        ("ID", Keep::Always),
        ("NODE", Keep::Always),
        ("OWNER", Keep::Unless(1)),
        ("SELECTORS", Keep::Unless(4)),
        ("DNS", Keep::Unless(3)),
        ("LABELS", Keep::Unless(5)),
        ("TTL", Keep::Unless(7)),
        ("ENDS", Keep::Unless(2)),
        ("CRITICALITY", Keep::Unless(6)),
        ("DEFAULT", Keep::Unless(8)),
        ("REFUSED", refused),
        ("HINT", Keep::Wide),
        ("CREATED", Keep::Wide),
        ("ENTITLEMENT", Keep::Wide),
    ]);
    let rows = items.iter().map(|it| row(it, now, look));
    table
        .with(rows)
        .render(look, "no registration passes this filter")
}

fn row(shown: &Shown, now: Timestamp, look: Look) -> [Cell; 14] {
    let labels = shown.labels.iter();
    let labels: Vec<_> = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let node = shown.node.as_deref().unwrap_or("by hand");
    let end = shown.expires_at.map(|end| match look.wide {
        true => to_the_second(end),
        false => relative(end, now),
    });
    let refused = shown.refused.as_ref();
    [
        shown.id.as_str().into(),
        node.into(),
        shown.owner.as_str().into(),
        filled(shown.selectors.join(" ")).into(),
        filled(shown.dns.join(" ")).into(),
        filled(labels.join(" ")).into(),
        shown
            .x509_ttl_secs
            .map(|secs| countersign_cli::duration::format(Duration::from_secs(secs)))
            .into(),
        end.into(),
        shown.criticality.as_str().into(),
        if shown.default { "yes" } else { "-" }.into(),
        refused.map_or_else(
            || "-".into(),
            |refused| Cell::toned(refused.code.clone(), Tone::Bad),
        ),
        shown.hint.clone().into(),
        shown.created_at.map(to_the_second).into(),
        shown.entitlement.as_str().into(),
    ]
}

impl Shown {
    /// Where it stands in a list.
    fn order(&self) -> (&str, &Option<String>, &[String]) {
        (&self.id, &self.node, &self.selectors)
    }
}
