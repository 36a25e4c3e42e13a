//! `countersign node …`: who is there, who is put out, and who may come back.

use clap::{Args, Subcommand};
use countersign_cli::{Exit, Failure};
use countersign_model::SpiffeId;
use countersign_proto::admin::{
    EvictNodeRequest, EvictNodeResponse, ListNodesRequest, ListedNode, UnbanNodeRequest,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::called::Called;
use crate::client::{Client, failure, next, request, time};
use crate::distance::{between, relative, to_the_second};
use crate::output::{Items, Output, Printable, filled};
use crate::short::Short;
use crate::table::look::Wide;
use crate::table::{Cell, Keep, Look, Table, Tone};

const LIST_EXAMPLES: &str = "Examples:\n  \
    countersign node list\n  \
    countersign node list --node spiffe://example.org/node/a --json\n  \
    countersign node list --json | jq -r '.items[] | select(.connected_since == null) | .id'";
const EVICT_EXAMPLES: &str = "Examples:\n  \
    countersign node evict --node spiffe://example.org/node/a --reason \"key copied, ticket 4711\"\n  \
    countersign token create --node spiffe://example.org/node/a --out token    # how it comes back\n\n\
    Its stream ends at once, and none of its keys is recognised any more. What it was issued stays \
    valid until it ends; the answer says until when.";
const BAN_EXAMPLES: &str = "Examples:\n  \
    countersign node ban --node spiffe://example.org/node/a --reason \"host is lost\"\n  \
    countersign node unban --node spiffe://example.org/node/a --reason \"host reinstalled\"\n\n\
    A node that never attested can be banned as well.";
const UNBAN_EXAMPLES: &str = "Example:\n  \
    countersign node unban --node spiffe://example.org/node/a --reason \"host reinstalled\"\n\n\
    The node stays evicted until it attests with a new join token.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Nodes that attested or are banned: lineage, keys, when they were seen
    #[command(after_help = LIST_EXAMPLES)]
    List(List),
    /// Put a node out at once; a new join token lets it come back
    #[command(after_help = EVICT_EXAMPLES)]
    Evict(Of),
    /// Put a node out at once, and let no join token attest it
    #[command(after_help = BAN_EXAMPLES)]
    Ban(Of),
    /// Let new join tokens of a banned node attest it again
    #[command(after_help = UNBAN_EXAMPLES)]
    Unban(Of),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// This node alone
    #[arg(long)]
    node: Option<SpiffeId>,
    #[command(flatten)]
    wide: Wide,
}

#[derive(Debug, Args)]
pub(crate) struct Of {
    /// The node's SPIFFE ID
    #[arg(long)]
    node: SpiffeId,
    /// Why, for the issuance log
    #[arg(long)]
    reason: String,
}

impl Verb {
    pub(crate) async fn run(
        self,
        client: &Client,
        output: Output,
        now: Timestamp,
    ) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(client, output, now).await,
            Self::Evict(of) => of.evict(false, client, output).await,
            Self::Ban(of) => of.evict(true, client, output).await,
            Self::Unban(of) => of.unban(client, output).await,
        }
    }
}

impl List {
    async fn run(self, client: &Client, output: Output, now: Timestamp) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        let node = self.node.map_or_else(String::new, |node| node.to_string());
        let asked = request(ListNodesRequest { node });
        let answer = admin.list_nodes(asked).await;
        let mut rows = answer.map_err(failure)?.into_inner();
        let mut items = Vec::new();
        while let Some(row) = next(&mut rows).await? {
            items.push(Node::from(row));
        }
        let look = self.wide.look();
        output.show(&Items { items }, |it| list_text(&it.items, now, look))?;
        Ok(Exit::Yes)
    }
}

impl Of {
    async fn evict(self, ban: bool, client: &Client, output: Output) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        let asked = request(EvictNodeRequest {
            node: self.node.to_string(),
            reason: self.reason,
            ban,
        });
        let answer = admin.evict_node(asked).await.map_err(failure)?;
        let evicted = Evicted::new(self.node, ban, answer.into_inner());
        output.show(&evicted, |it| evicted_text(it, client.called()))?;
        Ok(Exit::Yes)
    }

    async fn unban(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        let asked = request(UnbanNodeRequest {
            node: self.node.to_string(),
            reason: self.reason,
        });
        let answer = admin.unban_node(asked).await.map_err(failure)?;
        let unbanned = Unbanned {
            node: self.node,
            log_index: answer.into_inner().log_index,
        };
        output.show(&unbanned, |it| {
            let Unbanned { node, log_index } = it;
            let token = client
                .called()
                .command(&format!("token create --node {node} --out token"));
            format!(
                "unbanned {node}, entry {log_index} of the issuance log\n\
                 it comes back with a new join token: {token}"
            )
        })?;
        Ok(Exit::Yes)
    }
}

/// Since when a node is out, and why.
#[derive(Debug, Serialize)]
struct Ended {
    since: Option<Timestamp>,
    reason: String,
}

impl Ended {
    fn text(&self, what: &str, now: Timestamp) -> String {
        let since = self.since.map(|since| format!(" {}", relative(since, now)));
        format!("{what}{}: {}", since.unwrap_or_default(), self.reason)
    }
}

#[derive(Debug, Serialize)]
struct Node {
    id: String,
    lineage: Option<u64>,
    attested_at: Option<Timestamp>,
    serials: Vec<String>,
    credential_not_after: Option<Timestamp>,
    connected_since: Option<Timestamp>,
    /// The control plane that has its stream, of several.
    replica: Option<String>,
    last_seen: Option<Timestamp>,
    registrations: u64,
    unused_tokens: u64,
    evicted: Option<Ended>,
    banned: Option<Ended>,
}

impl From<ListedNode> for Node {
    fn from(wire: ListedNode) -> Self {
        let ended = |it: countersign_proto::admin::Ended| Ended {
            since: time(it.since),
            reason: it.reason,
        };
        Self {
            id: wire.id,
            lineage: Some(wire.lineage).filter(|lineage| *lineage > 0),
            attested_at: time(wire.attested_at),
            serials: wire.serials,
            credential_not_after: time(wire.credential_not_after),
            connected_since: time(wire.connected_since),
            replica: filled(wire.replica),
            last_seen: time(wire.last_seen),
            registrations: wire.registrations,
            unused_tokens: wire.unused_tokens,
            evicted: wire.evicted.map(ended),
            banned: wire.banned.map(ended),
        }
    }
}

impl Node {
    fn state(&self, now: Timestamp) -> Cell {
        match (&self.banned, &self.evicted, self.connected_since) {
            (Some(ban), ..) => Cell::toned(ban.text("banned", now), Tone::Bad),
            (None, Some(eviction), _) => Cell::toned(eviction.text("evicted", now), Tone::Bad),
            (None, None, Some(since)) => {
                let at = self
                    .replica
                    .as_ref()
                    .map(|replica| format!(" at {replica}"));
                let at = at.unwrap_or_default();
                let text = format!("connected{at} for {}", between(since, now));
                Cell::toned(text, Tone::Good)
            }
            (None, None, None) => Cell::toned("not connected", Tone::Warn),
        }
    }
}

#[derive(Debug, Serialize)]
struct Evicted {
    node: SpiffeId,
    banned: bool,
    log_index: u64,
    was_connected: bool,
    tokens_revoked: u64,
    valid_until: Option<Timestamp>,
}

impl Evicted {
    fn new(node: SpiffeId, banned: bool, wire: EvictNodeResponse) -> Self {
        Self {
            node,
            banned,
            log_index: wire.log_index,
            was_connected: wire.was_connected,
            tokens_revoked: wire.tokens_revoked,
            valid_until: time(wire.valid_until),
        }
    }
}

#[derive(Debug, Serialize)]
struct Unbanned {
    node: SpiffeId,
    log_index: u64,
}

fn list_text(items: &[Node], now: Timestamp, look: Look) -> Printable {
    let serials = items.iter().flat_map(|it| &it.serials);
    let short = Short::of(serials.map(String::as_str), look);
    let when = |at: Option<Timestamp>| {
        at.map(|at| match look.wide {
            true => to_the_second(at),
            false => relative(at, now),
        })
    };
    let rows = items.iter().map(|it| {
        let serials = it.serials.iter().map(|serial| short.short(serial));
        let serials = serials.collect::<Vec<_>>().join(" ");
        [
            it.id.as_str().into(),
            it.state(now),
            match it.connected_since {
                Some(_) => "now".into(),
                None => when(it.last_seen).into(),
            },
            it.registrations.to_string().into(),
            when(it.credential_not_after).into(),
            when(it.attested_at).into(),
            filled(serials).into(),
            it.lineage.into(),
            it.unused_tokens.to_string().into(),
        ]
    });
    let table = Table::new([
        ("NODE", Keep::Always),
        ("STATE", Keep::Always),
        ("LAST SEEN", Keep::Unless(1)),
        ("REGISTRATIONS", Keep::Unless(3)),
        ("LAST CREDENTIAL ENDS", Keep::Unless(2)),
        ("ATTESTED", Keep::Unless(4)),
        ("SERIALS", Keep::Unless(5)),
        ("LINEAGE", Keep::Unless(6)),
        ("UNUSED TOKENS", Keep::Wide),
    ]);
    table
        .with(rows)
        .render(look, "no node is known, or none passes this filter")
}

fn evicted_text(it: &Evicted, called: &Called) -> String {
    let Evicted {
        node, log_index, ..
    } = it;
    let did = if it.banned { "banned" } else { "evicted" };
    let mut ended = vec!["its lineage with every key".to_owned()];
    if it.was_connected {
        ended.push("its open stream".to_owned());
    }
    match it.tokens_revoked {
        0 => {}
        1 => ended.push("1 unused join token".to_owned()),
        count => ended.push(format!("{count} unused join tokens")),
    }
    let validity = match it.valid_until {
        Some(until) => format!(
            "still valid until {}: certificates that it was issued; \
             who verifies them accepts them until then",
            to_the_second(until)
        ),
        None => "nothing that it was issued is valid any more".to_owned(),
    };
    let back = if it.banned {
        let unban = called.command(&format!("node unban --node {node} --reason WHY"));
        format!("it stays out until unbanned: {unban}")
    } else {
        let token = called.command(&format!("token create --node {node} --out token"));
        format!("it comes back with a new join token: {token}")
    };
    let ended = ended.join(", ");
    format!(
        "{did} {node}, entry {log_index} of the issuance log\nended: {ended}\n{validity}\n{back}"
    )
}
