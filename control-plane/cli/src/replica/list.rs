//! `countersign replica list`: every control plane that shares the database.

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::{ListReplicasRequest, Replica};
use jiff::Timestamp;
use serde::Serialize;

use crate::client::{Client, failure, request, time};
use crate::distance::{between, relative, to_the_second};
use crate::output::{Items, Output, Printable, filled};
use crate::short::Short;
use crate::table::look::Wide;
use crate::table::{Cell, Keep, Look, Table, Tone};

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

/// One of them. What it writes of itself is absent until it has.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    state: String,
    answers: bool,
    log_id: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    issuing_ca: Option<String>,
    issuing_ca_not_after: Option<Timestamp>,
    version: Option<String>,
    sequence: Option<u64>,
    streams: Option<u64>,
    leads: Option<bool>,
    last_seen: Option<Timestamp>,
}

impl From<Replica> for Row {
    fn from(wire: Replica) -> Self {
        Self {
            name: wire.name,
            state: wire.state,
            answers: wire.answers,
            log_id: wire.log_id.map(|id| format!("{id:06x}")),
            since: time(wire.since),
            until: time(wire.until),
            issuing_ca: filled(wire.issuing_ca),
            issuing_ca_not_after: time(wire.issuing_ca_not_after),
            version: wire.version,
            sequence: wire.sequence,
            streams: wire.streams,
            leads: wire.leads,
            last_seen: time(wire.last_seen),
        }
    }
}

impl Row {
    fn state(&self, now: Timestamp) -> Cell {
        match (self.state.as_str(), self.until, self.since) {
            ("invited", Some(until), _) if until < now => Cell::toned(
                format!("invitation over {}", relative(until, now)),
                Tone::Bad,
            ),
            ("invited", Some(until), _) => {
                Cell::toned(format!("invited, {} left", between(now, until)), Tone::Warn)
            }
            ("joined", _, Some(since)) => {
                Cell::toned(format!("joined {}", relative(since, now)), Tone::Good)
            }
            (state, _, Some(since)) => format!("{state} {}", relative(since, now)).into(),
            (state, ..) => state.into(),
        }
    }

    /// What it is beside its state, in the words that stand behind its name.
    fn name(&self) -> String {
        let marks = [
            (self.answers, "answers"),
            (self.leads == Some(true), "leads"),
        ];
        let marks = marks.into_iter().filter(|(is_so, _)| *is_so);
        let marks: Vec<_> = marks.map(|(_, word)| word).collect();
        match marks.is_empty() {
            true => self.name.clone(),
            false => format!("{} ({})", self.name, marks.join(", ")),
        }
    }
}

pub(super) fn text(items: &[Row], now: Timestamp, look: Look) -> Printable {
    let keys = items.iter().filter_map(|it| it.issuing_ca.as_deref());
    let short = Short::of(keys, look);
    let when = |at: Option<Timestamp>| {
        at.map(|at| match look.wide {
            true => to_the_second(at),
            false => relative(at, now),
        })
    };
    let rows = items.iter().map(|it| {
        [
            it.name().into(),
            it.state(now),
            it.log_id.clone().into(),
            short.cell(it.issuing_ca.as_ref()).into(),
            when(it.issuing_ca_not_after).into(),
            it.version.clone().into(),
            it.sequence.into(),
            it.streams.into(),
            when(it.last_seen).into(),
        ]
    });
    let table = Table::new([
        ("REPLICA", Keep::Always),
        ("STATE", Keep::Always),
        ("LOG", Keep::Unless(2)),
        ("ISSUING CA", Keep::Unless(1)),
        ("ENDS", Keep::Unless(3)),
        ("VERSION", Keep::Unless(7)),
        ("SEQUENCE", Keep::Unless(5)),
        ("STREAMS", Keep::Unless(4)),
        ("LAST SEEN", Keep::Unless(6)),
    ]);
    table.with(rows).render(look, ALONE)
}
