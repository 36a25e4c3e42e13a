//! The JSON of `countersign status`.

use std::collections::BTreeMap;

use countersign_proto::admin as wire;
use jiff::Timestamp;
use serde::Serialize;

use super::listeners::Listener;
use super::refused::RefusedAttestations;
use crate::ca::laggards::Laggard;
use crate::client::time;
use crate::output::filled;
use crate::replica::level::Level;
use crate::replica::row::Row;

/// What is shown: one control plane, its nodes, what each holds, and who is behind it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Shown {
    /// When it was so, by the control plane's clock.
    pub(crate) at: Option<Timestamp>,
    pub(crate) trust_domain: String,
    pub(crate) version: String,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    /// Of the newest bundle; none before there is one.
    pub(crate) bundle_version: Option<String>,
    pub(crate) registrations: u64,
    pub(crate) registrations_by_hand: u64,
    pub(crate) registrations_refused: u64,
    pub(crate) svids_issued: u64,
    pub(crate) cas_issued: u64,
    pub(crate) server_certificates_issued: u64,
    pub(crate) api_address: String,
    pub(crate) telemetry_address: String,
    /// Why nothing can be signed now.
    pub(crate) obstacles: Vec<String>,
    /// What must not be, though nothing is stopped by it.
    pub(crate) alarms: Vec<String>,
    /// A prepared root, and whom it waits for.
    pub(crate) rotation: Option<Rotation>,
    /// The newest attestations that were refused.
    pub(crate) refused_attestations: RefusedAttestations,
    /// Of everything that passes the filter, whether it is shown or not.
    pub(crate) totals: Totals,
    /// The control planes that share the database; none where the one that answers is alone.
    pub(crate) replicas: Vec<Row>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) listeners: Vec<Listener>,
    /// None from a control plane of before there were levels.
    pub(crate) level: Option<Level>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Totals {
    pub(crate) nodes: u64,
    pub(crate) nodes_connected: u64,
    pub(crate) nodes_needing_attention: u64,
    pub(crate) endpoints: u64,
    pub(crate) endpoints_needing_attention: u64,
    /// How many endpoints are in each state.
    pub(crate) by_state: BTreeMap<String, u64>,
    pub(crate) consumers: u64,
    /// Those without the newest bundle.
    pub(crate) consumers_behind: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Rotation {
    /// Of the prepared root.
    pub(crate) key_id: String,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) waiting_for: Vec<Laggard>,
    pub(crate) waiting_for_more: u64,
    pub(crate) waivers: Vec<Waiver>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Waiver {
    pub(crate) consumer: String,
    pub(crate) reason: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    /// connected, away, `never_attested`, evicted or banned.
    pub(crate) state: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) needs_attention: bool,
    /// Why it is evicted or banned.
    pub(crate) reason: Option<String>,
    pub(crate) connected: bool,
    /// The control plane that has its stream, where that is not the one that answers.
    pub(crate) replica: Option<String>,
    pub(crate) attested_at: Option<Timestamp>,
    pub(crate) credential_not_after: Option<Timestamp>,
    pub(crate) bundle_version_acknowledged: Option<String>,
    pub(crate) bundle_since: Option<Timestamp>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) consumers: Vec<Consumer>,
    /// How many there are beside, of a node that is away.
    pub(crate) consumers_more: u64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) entitlement: String,
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) needs_attention: bool,
    pub(crate) refused: Option<Refused>,
    pub(crate) owner: Option<String>,
    pub(crate) criticality: Option<String>,
    pub(crate) wanted: Option<String>,
    pub(crate) acknowledged: Option<String>,
    pub(crate) served: Option<String>,
    pub(crate) issued_at: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) renewal_due: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) message: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Consumer {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) resource: Option<String>,
    /// Whether it validates with a bundle.
    pub(crate) validates: bool,
    pub(crate) bundle_version: Option<String>,
    pub(crate) bundle_since: Option<Timestamp>,
    pub(crate) serials: Vec<String>,
    pub(crate) connected: bool,
    pub(crate) since: Option<Timestamp>,
}

impl Shown {
    /// Takes one more message of the answer in.
    pub(crate) fn take_in(&mut self, message: wire::StatusResponse) {
        if message.at.is_some() {
            self.take_head(message);
            return;
        }
        if let Some(totals) = message.totals {
            self.totals = totals.into();
        }
        for node in message.nodes.into_iter().map(Node::from) {
            match self.nodes.last_mut() {
                Some(last) if last.id == node.id => {
                    last.endpoints.extend(node.endpoints);
                    last.consumers.extend(node.consumers);
                }
                _ => self.nodes.push(node),
            }
        }
    }

    fn take_head(&mut self, wire: wire::StatusResponse) {
        *self = Self {
            at: time(wire.at),
            trust_domain: wire.trust_domain,
            version: wire.version,
            started_at: time(wire.started_at),
            epoch: wire.epoch,
            sequence: wire.sequence,
            level: wire.level.map(Level::from),
            bundle_version: filled(wire.bundle_version),
            registrations: wire.registrations,
            registrations_by_hand: wire.registrations_by_hand,
            registrations_refused: wire.registrations_refused,
            svids_issued: wire.svids_issued,
            cas_issued: wire.cas_issued,
            server_certificates_issued: wire.server_certificates_issued,
            api_address: wire.api_address,
            telemetry_address: wire.telemetry_address,
            obstacles: wire.obstacles,
            alarms: wire.alarms,
            rotation: wire.rotation.map(Rotation::from),
            refused_attestations: wire.refused_attestations.unwrap_or_default().into(),
            listeners: wire.listeners.into_iter().map(Listener::from).collect(),
            replicas: wire.replicas.into_iter().map(Row::from).collect(),
            totals: Totals::default(),
            nodes: Vec::new(),
        };
    }
}

impl From<wire::StatusTotals> for Totals {
    fn from(wire: wire::StatusTotals) -> Self {
        Self {
            nodes: wire.nodes,
            nodes_connected: wire.nodes_connected,
            nodes_needing_attention: wire.nodes_needing_attention,
            endpoints: wire.endpoints,
            endpoints_needing_attention: wire.endpoints_needing_attention,
            by_state: wire.by_state.into_iter().collect(),
            consumers: wire.consumers,
            consumers_behind: wire.consumers_behind,
        }
    }
}

impl From<wire::RotationStatus> for Rotation {
    fn from(wire: wire::RotationStatus) -> Self {
        let waiting_for = wire.waiting_for.into_iter().map(Laggard::from);
        let waivers = wire.waivers.into_iter().map(|it| Waiver {
            consumer: it.consumer,
            reason: it.reason,
            since: time(it.since),
            until: time(it.until),
        });
        Self {
            key_id: wire.key_id,
            not_before: time(wire.not_before),
            waiting_for: waiting_for.collect(),
            waiting_for_more: wire.waiting_for_more,
            waivers: waivers.collect(),
        }
    }
}

impl From<wire::NodeStatus> for Node {
    fn from(wire: wire::NodeStatus) -> Self {
        Self {
            id: wire.id,
            state: wire.state,
            since: time(wire.since),
            needs_attention: wire.needs_attention,
            reason: filled(wire.reason),
            connected: wire.connected,
            replica: filled(wire.replica),
            attested_at: time(wire.attested_at),
            credential_not_after: time(wire.credential_not_after),
            bundle_version_acknowledged: filled(wire.bundle_version_acknowledged),
            bundle_since: time(wire.bundle_since),
            endpoints: wire.endpoints.into_iter().map(Endpoint::from).collect(),
            consumers: wire.consumers.into_iter().map(Consumer::from).collect(),
            consumers_more: wire.consumers_more,
        }
    }
}

impl From<wire::EndpointStatus> for Endpoint {
    fn from(wire: wire::EndpointStatus) -> Self {
        let refused = filled(wire.refused_code).map(|code| Refused {
            code,
            message: wire.refused_because,
        });
        Self {
            entitlement: wire.entitlement,
            id: wire.id,
            state: wire.state,
            since: time(wire.since),
            needs_attention: wire.needs_attention,
            refused,
            owner: filled(wire.owner),
            criticality: filled(wire.criticality),
            wanted: filled(wire.wanted),
            acknowledged: filled(wire.acknowledged),
            served: filled(wire.served),
            issued_at: time(wire.issued_at),
            not_after: time(wire.not_after),
            renewal_due: time(wire.renewal_due),
        }
    }
}

impl From<wire::ConsumerStatus> for Consumer {
    fn from(wire: wire::ConsumerStatus) -> Self {
        Self {
            id: wire.id,
            kind: wire.kind,
            resource: filled(wire.resource),
            validates: wire.validates,
            bundle_version: filled(wire.bundle_version),
            bundle_since: time(wire.bundle_since),
            serials: wire.serials,
            connected: wire.connected,
            since: time(wire.since),
        }
    }
}
