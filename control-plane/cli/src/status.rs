//! `countersign status`: wanted, acknowledged and served, node by node.

mod listeners;

use clap::Args;
use countersign_cli::{Exit, Failure};
use countersign_proto::admin::{
    ConsumerStatus, EndpointStatus, NodeStatus, StatusRequest, StatusResponse,
};
use serde::Serialize;

use crate::client::{Client, failure, request, time};
use crate::output::{Output, cell, table};
use listeners::Listener;

pub(crate) const EXAMPLES: &str = "Examples:\n  \
    countersign status\n  \
    countersign status --json | jq '.nodes[] | select(.connected | not) | .id'";

#[derive(Debug, Serialize)]
struct Shown {
    trust_domain: String,
    version: String,
    started_at: Option<jiff::Timestamp>,
    epoch: u64,
    sequence: u64,
    registrations: u64,
    registrations_refused: u64,
    svids_issued: u64,
    api_address: String,
    telemetry_address: String,
    /// Why nothing can be signed now.
    obstacles: Vec<String>,
    /// What must not be, though nothing is stopped by it.
    alarms: Vec<String>,
    nodes: Vec<Node>,
    listeners: Vec<Listener>,
}

#[derive(Debug, Serialize)]
struct Node {
    id: String,
    connected: bool,
    credential_not_after: Option<jiff::Timestamp>,
    bundle_version_acknowledged: Option<String>,
    endpoints: Vec<Endpoint>,
    consumers: Vec<Consumer>,
    /// How many there are beside, of a node that is away.
    consumers_more: u64,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    entitlement: String,
    id: String,
    wanted: Option<String>,
    acknowledged: Option<String>,
    served: Option<String>,
    not_after: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize)]
struct Consumer {
    id: String,
    kind: String,
    resource: String,
    bundle_version: Option<String>,
    connected: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, client: &Client, output: Output) -> Result<Exit, Failure> {
        let mut admin = client.connect().await?;
        let answer = admin.status(request(StatusRequest {})).await;
        let shown = Shown::from(answer.map_err(failure)?.into_inner());
        output.show(&shown, text)?;
        Ok(Exit::Yes)
    }
}

fn text(shown: &Shown) -> String {
    let summary = format!(
        "{}, version {}, up since {}\nAPI {}, telemetry {}\n{} registrations, {} of them refused, {} SVIDs issued",
        shown.trust_domain,
        shown.version,
        cell(shown.started_at),
        shown.api_address,
        shown.telemetry_address,
        shown.registrations,
        shown.registrations_refused,
        shown.svids_issued,
    );
    let obstacles = shown.obstacles.iter();
    let obstacles = obstacles.map(|it| format!("\ncannot sign: {it}"));
    let alarms = shown.alarms.iter().map(|it| format!("\nalarm: {it}"));
    let obstacles: String = obstacles.chain(alarms).collect();
    let nodes = table(
        [
            "NODE",
            "CONNECTED",
            "CREDENTIAL UNTIL",
            "BUNDLE",
            "CONSUMERS",
        ],
        shown.nodes.iter().map(|node| {
            [
                node.id.clone(),
                yes(node.connected),
                cell(node.credential_not_after),
                cell(node.bundle_version_acknowledged.clone()),
                (node.consumers.len() as u64 + node.consumers_more).to_string(),
            ]
        }),
        "no node has attested",
    );
    let endpoints = shown.nodes.iter().flat_map(|node| &node.endpoints);
    let endpoints = table(
        ["IDENTITY", "WANTED", "ACKNOWLEDGED", "SERVED", "UNTIL"],
        endpoints.map(|endpoint| {
            [
                endpoint.id.clone(),
                cell(endpoint.wanted.clone()),
                cell(endpoint.acknowledged.clone()),
                endpoint
                    .served
                    .clone()
                    .unwrap_or_else(|| "unobserved".to_owned()),
                cell(endpoint.not_after),
            ]
        }),
        "no identity is wanted anywhere",
    );
    let listeners = listeners::text(&shown.listeners);
    format!("{summary}{obstacles}\n\n{nodes}\n\n{endpoints}{listeners}")
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

fn filled(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

impl From<StatusResponse> for Shown {
    fn from(wire: StatusResponse) -> Self {
        Self {
            trust_domain: wire.trust_domain,
            version: wire.version,
            started_at: time(wire.started_at),
            epoch: wire.epoch,
            sequence: wire.sequence,
            registrations: wire.registrations,
            registrations_refused: wire.registrations_refused,
            svids_issued: wire.svids_issued,
            api_address: wire.api_address,
            telemetry_address: wire.telemetry_address,
            obstacles: wire.obstacles,
            alarms: wire.alarms,
            nodes: wire.nodes.into_iter().map(Node::from).collect(),
            listeners: wire.listeners.into_iter().map(Listener::from).collect(),
        }
    }
}

impl From<NodeStatus> for Node {
    fn from(wire: NodeStatus) -> Self {
        Self {
            id: wire.id,
            connected: wire.connected,
            credential_not_after: time(wire.credential_not_after),
            bundle_version_acknowledged: filled(wire.bundle_version_acknowledged),
            endpoints: wire.endpoints.into_iter().map(Endpoint::from).collect(),
            consumers: wire.consumers.into_iter().map(Consumer::from).collect(),
            consumers_more: wire.consumers_more,
        }
    }
}

impl From<EndpointStatus> for Endpoint {
    fn from(wire: EndpointStatus) -> Self {
        Self {
            entitlement: wire.entitlement,
            id: wire.id,
            wanted: filled(wire.wanted),
            acknowledged: filled(wire.acknowledged),
            served: filled(wire.served),
            not_after: time(wire.not_after),
        }
    }
}

impl From<ConsumerStatus> for Consumer {
    fn from(wire: ConsumerStatus) -> Self {
        Self {
            id: wire.id,
            kind: wire.kind,
            resource: wire.resource,
            bundle_version: filled(wire.bundle_version),
            connected: wire.connected,
        }
    }
}
