//! `countersign register`, `unregister` and `list`.

mod defaults;
mod list;
mod register;
mod written;

use std::collections::BTreeMap;

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_model::SpiffeId;
use countersign_proto::admin::{Registration, UnregisterRequest};
use serde::Serialize;

use crate::client::{Client, failure, request, time};
use crate::distance::to_the_second;
use crate::output::{Output, filled};
pub(crate) use defaults::tell_rivals;
pub(crate) use list::{LIST_EXAMPLES, List, listed};
pub(crate) use register::{EXAMPLES as REGISTER_EXAMPLES, Register};
pub(crate) use written::{Outcome, Written};

pub(crate) const UNREGISTER_EXAMPLES: &str = "Examples:\n  \
    countersign unregister --id spiffe://example.org/web\n  \
    countersign unregister --id spiffe://example.org/web --node spiffe://example.org/node/a --json";

#[derive(Debug, Args)]
pub(crate) struct Unregister {
    /// The SPIFFE ID to take away
    #[arg(long)]
    id: SpiffeId,
    /// On this node alone [default: on every node]
    #[arg(long)]
    node: Option<SpiffeId>,
}

/// A registration as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
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
struct Removed {
    items: Vec<Shown>,
    valid_until: Option<jiff::Timestamp>,
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
        Some(until) => {
            let until = to_the_second(until);
            format!("what was issued for it stays valid until {until}")
        }
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
    pub(crate) fn place(&self) -> String {
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
