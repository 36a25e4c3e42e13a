//! The JSON of `countersign status`.

use std::collections::BTreeMap;

use countersign_proto::admin as wire;
use jiff::Timestamp;
use serde::Serialize;

use super::listeners::Listener;
use crate::client::time;
use crate::output::filled;

/// What is shown: one control plane, its nodes, what each holds, and who is behind it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Shown {
    /// When it was so, by the control plane's clock.
    pub(super) at: Option<Timestamp>,
    pub(super) trust_domain: String,
    pub(super) version: String,
    pub(super) started_at: Option<Timestamp>,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// Of the newest bundle; none before there is one.
    pub(super) bundle_version: Option<String>,
    pub(super) registrations: u64,
    pub(super) registrations_by_hand: u64,
    pub(super) registrations_refused: u64,
    pub(super) svids_issued: u64,
    pub(super) cas_issued: u64,
    pub(super) server_certificates_issued: u64,
    pub(super) api_address: String,
    pub(super) telemetry_address: String,
    /// Why nothing can be signed now.
    pub(super) obstacles: Vec<String>,
    /// What must not be, though nothing is stopped by it.
    pub(super) alarms: Vec<String>,
    /// A prepared root, and whom it waits for.
    pub(super) rotation: Option<Rotation>,
    /// Of everything that passes the filter, whether it is shown or not.
    pub(super) totals: Totals,
    pub(super) nodes: Vec<Node>,
    pub(super) listeners: Vec<Listener>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) nodes: u64,
    pub(super) nodes_connected: u64,
    pub(super) nodes_needing_attention: u64,
    pub(super) endpoints: u64,
    pub(super) endpoints_needing_attention: u64,
    /// How many endpoints are in each state.
    pub(super) by_state: BTreeMap<String, u64>,
    pub(super) consumers: u64,
    /// Those without the newest bundle.
    pub(super) consumers_behind: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Rotation {
    /// Of the prepared root.
    pub(super) key_id: String,
    pub(super) not_before: Option<Timestamp>,
    pub(super) waiting_for: Vec<Laggard>,
    pub(super) waiting_for_more: u64,
    pub(super) waivers: Vec<Waiver>,
}

#[derive(Debug, Serialize)]
pub(super) struct Laggard {
    pub(super) consumer: String,
    pub(super) connected: bool,
    /// It is waited for no longer than this; none while its stream is open.
    pub(super) until: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(super) struct Waiver {
    pub(super) consumer: String,
    pub(super) reason: String,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(super) struct Node {
    pub(super) id: String,
    /// connected, away, `never_attested`, evicted or banned.
    pub(super) state: String,
    pub(super) since: Option<Timestamp>,
    pub(super) needs_attention: bool,
    /// Why it is evicted or banned.
    pub(super) reason: Option<String>,
    pub(super) connected: bool,
    pub(super) attested_at: Option<Timestamp>,
    pub(super) credential_not_after: Option<Timestamp>,
    pub(super) bundle_version_acknowledged: Option<String>,
    pub(super) bundle_since: Option<Timestamp>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) consumers: Vec<Consumer>,
    /// How many there are beside, of a node that is away.
    pub(super) consumers_more: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Endpoint {
    pub(super) entitlement: String,
    pub(super) id: String,
    pub(super) state: String,
    pub(super) since: Option<Timestamp>,
    pub(super) needs_attention: bool,
    pub(super) refused: Option<Refused>,
    pub(super) owner: Option<String>,
    pub(super) criticality: Option<String>,
    pub(super) wanted: Option<String>,
    pub(super) acknowledged: Option<String>,
    pub(super) served: Option<String>,
    pub(super) issued_at: Option<Timestamp>,
    pub(super) not_after: Option<Timestamp>,
    pub(super) renewal_due: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(super) struct Refused {
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Consumer {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) resource: Option<String>,
    /// Whether it validates with a bundle.
    pub(super) validates: bool,
    pub(super) bundle_version: Option<String>,
    pub(super) bundle_since: Option<Timestamp>,
    pub(super) serials: Vec<String>,
    pub(super) connected: bool,
    pub(super) since: Option<Timestamp>,
}

impl Shown {
    /// Takes one more message of the answer in.
    pub(super) fn take_in(&mut self, message: wire::StatusResponse) {
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
            listeners: wire.listeners.into_iter().map(Listener::from).collect(),
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
        let waiting_for = wire.waiting_for.into_iter().map(|it| Laggard {
            consumer: it.name,
            connected: it.connected,
            until: time(it.until),
        });
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
