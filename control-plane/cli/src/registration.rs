//! `countersign register`, `unregister` and `list`.

mod list;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_model::{Criticality, Selector, SpiffeId};
use countersign_proto::admin::{RegisterRequest, Registration, UnregisterRequest};
use countersign_proto::convert::time::timestamp;
use serde::Serialize;

use crate::client::{Client, failure, request, time};
use crate::output::{Output, filled};
use crate::times;

pub(crate) use list::{LIST_EXAMPLES, List};

pub(crate) const REGISTER_EXAMPLES: &str = "Examples:\n  \
    countersign register --id spiffe://example.org/web --node spiffe://example.org/node/a \\\n      \
    --selector unix:uid:1000 --owner team-web\n  \
    countersign register --id spiffe://example.org/db --node spiffe://example.org/node/a \\\n      \
    --selector unix:uid:999 --selector unix:path:/usr/bin/db --owner team-db --x509-ttl 20m --default\n  \
    countersign register --id spiffe://example.org/plc --by-hand --owner team-plant \\\n      \
    --label site=hall-7 --expires-in 30d\n  \
    countersign register --id spiffe://example.org/plc --by-hand --owner team-plant \\\n      \
    --expires-at 2030-12-31T23:59:59Z    # or 2030-12-31";
pub(crate) const UNREGISTER_EXAMPLES: &str = "Examples:\n  \
    countersign unregister --id spiffe://example.org/web\n  \
    countersign unregister --id spiffe://example.org/web --node spiffe://example.org/node/a --json";

#[derive(Debug, Args)]
pub(crate) struct Register {
    /// The SPIFFE ID to hand out
    #[arg(long)]
    id: SpiffeId,
    /// The node that may hold it
    #[arg(long, required_unless_present = "by_hand", conflicts_with = "by_hand")]
    node: Option<SpiffeId>,
    /// What a caller must show; several mean all of them
    #[arg(
        long = "selector",
        value_name = "TYPE:KEY:VALUE",
        required_unless_present = "by_hand",
        conflicts_with = "by_hand"
    )]
    selectors: Vec<Selector>,
    /// No node holds it: `countersign sign` signs requests for it
    #[arg(long)]
    by_hand: bool,
    /// Who answers for it
    #[arg(long)]
    owner: String,
    /// low, standard or critical; a policy may demand that you say it [default: standard]
    #[arg(long)]
    criticality: Option<Criticality>,
    /// What operators find it by; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Lifetime of its certificates [default: svid.x509_ttl of the control plane]
    #[arg(long, value_parser = countersign_cli::duration::argument, value_name = "DURATION")]
    x509_ttl: Option<Duration>,
    /// A DNS name in its certificates; may be repeated
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// The name by which a workload tells its identities apart
    #[arg(long, conflicts_with = "by_hand")]
    hint: Option<String>,
    /// The identity that the SDS name `default` stands for
    #[arg(long, conflicts_with = "by_hand")]
    default: bool,
    /// The registration ends after this time [default: never]
    #[arg(long, value_parser = countersign_cli::duration::argument, value_name = "DURATION")]
    expires_in: Option<Duration>,
    /// The registration ends at this time: RFC 3339, a date or Unix seconds
    #[arg(long, conflicts_with = "expires_in", value_name = "TIME", value_parser = times::end)]
    expires_at: Option<jiff::Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct Unregister {
    /// The SPIFFE ID to take away
    #[arg(long)]
    id: SpiffeId,
    /// On this node alone [default: on every node]
    #[arg(long)]
    node: Option<SpiffeId>,
}

#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    /// None where it is signed by hand.
    node: Option<String>,
    by_hand: bool,
    selectors: Vec<String>,
    owner: String,
    criticality: String,
    labels: BTreeMap<String, String>,
    x509_ttl_secs: Option<u64>,
    dns: Vec<String>,
    hint: Option<String>,
    default: bool,
    entitlement: String,
    created_at: Option<jiff::Timestamp>,
    expires_at: Option<jiff::Timestamp>,
    /// Why it is not issued for any more.
    refused: Option<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    code: String,
    message: String,
}

#[derive(Debug, Serialize)]
struct Registered {
    #[serde(flatten)]
    registration: Shown,
    updated: bool,
}

#[derive(Debug, Serialize)]
struct Removed {
    items: Vec<Shown>,
    valid_until: Option<jiff::Timestamp>,
}

impl Register {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let registration = self.registration()?;
        let mut admin = client.connect().await?;
        let asked = request(RegisterRequest {
            registration: Some(registration),
        });
        let answer = admin.register(asked).await.map_err(failure)?.into_inner();
        let registered = Registered {
            registration: Shown::from(answer.registration.unwrap_or_default()),
            updated: answer.updated,
        };
        output.show(&registered, |it| {
            let done = if it.updated { "updated" } else { "registered" };
            format!("{done} {}", it.registration.place())
        })?;
        Ok(Exit::Yes)
    }

    fn registration(self) -> Result<Registration, Failure> {
        let count = self.labels.len();
        let labels: HashMap<_, _> = self.labels.into_iter().collect();
        if labels.len() < count {
            return Err(Failure::new(
                Exit::Usage,
                "label_twice",
                "a label is given twice",
                "give each --label key once",
            ));
        }
        Ok(Registration {
            id: self.id.to_string(),
            node: self.node.map_or_else(String::new, |node| node.to_string()),
            by_hand: self.by_hand,
            labels,
            expires_in: self.expires_in.and_then(|within| within.try_into().ok()),
            expires_at: self.expires_at.map(timestamp),
            selectors: self.selectors.iter().map(Selector::to_string).collect(),
            owner: self.owner,
            criticality: self
                .criticality
                .map_or_else(String::new, |it| it.as_str().to_owned()),
            x509_ttl: self.x509_ttl.and_then(|ttl| ttl.try_into().ok()),
            dns: self.dns,
            hint: self.hint.unwrap_or_default(),
            is_default: self.default,
            ..Registration::default()
        })
    }
}

impl Unregister {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        let asked = request(UnregisterRequest {
            id: self.id.to_string(),
            node: self.node.map_or_else(String::new, |node| node.to_string()),
        });
        let answer = admin.unregister(asked).await.map_err(failure)?.into_inner();
        let removed = Removed {
            items: answer.removed.into_iter().map(Shown::from).collect(),
            valid_until: time(answer.valid_until),
        };
        output.show(&removed, removed_text)?;
        Ok(Exit::Yes)
    }
}

fn removed_text(removed: &Removed) -> String {
    let lines = removed.items.iter();
    let mut lines: Vec<_> = lines
        .map(|it| format!("unregistered {}", it.place()))
        .collect();
    lines.push(match removed.valid_until {
        Some(until) => format!("what was issued for it stays valid until {until}"),
        None => "no certificate issued for it is still valid".to_owned(),
    });
    lines.join("\n")
}

/// `key=value`; what a key may be is the control plane's to say.
pub(crate) fn label(text: &str) -> Result<(String, String), &'static str> {
    let pair = text.split_once('=').ok_or("a label is KEY=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

impl Shown {
    /// The identity and its parent.
    fn place(&self) -> String {
        match &self.node {
            Some(node) => format!("{} on {node}", self.id),
            None => format!("{} by hand", self.id),
        }
    }
}

impl From<Registration> for Shown {
    fn from(wire: Registration) -> Self {
        let ttl = wire
            .x509_ttl
            .and_then(|ttl| u64::try_from(ttl.seconds).ok());
        let refused = filled(wire.refused_code).map(|code| Refused {
            code,
            message: wire.refused_because,
        });
        Self {
            id: wire.id,
            node: filled(wire.node),
            by_hand: wire.by_hand,
            labels: wire.labels.into_iter().collect(),
            expires_at: time(wire.expires_at),
            refused,
            selectors: wire.selectors,
            owner: wire.owner,
            criticality: wire.criticality,
            x509_ttl_secs: ttl,
            dns: wire.dns,
            hint: filled(wire.hint),
            default: wire.is_default,
            entitlement: wire.entitlement,
            created_at: time(wire.created_at),
        }
    }
}
