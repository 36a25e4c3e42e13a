//! Wanted, acknowledged and served, node by node.

use std::sync::Arc;

use countersign_fleet::{NodeRecord, NodeState, Reported};
use countersign_model::{Entitlement, Serial};
use countersign_proto::admin as wire;
use countersign_proto::convert::time::timestamp;
use countersign_serve::Counters;

use crate::plane::Plane;

pub(super) fn of(plane: &Plane) -> wire::StatusResponse {
    let authority = &plane.authority;
    let stamp = authority.stamp();
    let nodes = authority.nodes();
    wire::StatusResponse {
        trust_domain: authority.trust_domain().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: Some(timestamp(plane.started_at)),
        epoch: stamp.epoch,
        sequence: stamp.sequence,
        registrations: authority.registration_count() as u64,
        nodes: nodes.iter().map(|record| node(plane, record)).collect(),
        svids_issued: authority.issued_total(),
        api_address: plane.api_address.to_string(),
        telemetry_address: plane.telemetry_address.to_string(),
        registrations_refused: authority.refused_count(plane.clock.now()) as u64,
        obstacles: authority.obstacles(plane.clock.now()),
        alarms: authority.warnings(),
        listeners: plane.metrics.listeners().map(listener).into(),
    }
}

fn listener((name, counters): (&str, &Arc<Counters>)) -> wire::ListenerStatus {
    let usage = counters.usage();
    wire::ListenerStatus {
        name: name.to_owned(),
        connections: usage.connections.taken as u64,
        bound: usage.connections.bound as u64,
        strangers: usage.strangers.taken as u64,
        strangers_bound: usage.strangers.bound as u64,
        handshakes: usage.handshakes.taken as u64,
        handshakes_bound: usage.handshakes.bound as u64,
        turned_away: usage.turned_away,
    }
}

fn node(plane: &Plane, record: &NodeRecord) -> wire::NodeStatus {
    let state = plane.fleet.node(&record.id);
    let entitlements = plane.authority.entitlements(&record.id);
    let endpoints = entitlements.iter();
    wire::NodeStatus {
        id: record.id.to_string(),
        connected: plane.hub.is_connected(&record.id),
        credential_not_after: Some(timestamp(record.credential_not_after)),
        endpoints: endpoints
            .map(|it| endpoint(plane, record, &state, it))
            .collect(),
        consumers: state.consumers.iter().map(consumer).collect(),
        consumers_more: state.crowd.map_or(0, |crowd| crowd.count as u64),
        bundle_version_acknowledged: state.bundle.unwrap_or_default(),
    }
}

fn endpoint(
    plane: &Plane,
    record: &NodeRecord,
    state: &NodeState,
    wanted: &Entitlement,
) -> wire::EndpointStatus {
    let svid = plane.authority.published(&record.id, &wanted.id);
    let text = |serial: Option<&Serial>| serial.map(Serial::to_string).unwrap_or_default();
    wire::EndpointStatus {
        entitlement: wanted.id.to_string(),
        id: wanted.spiffe_id.to_string(),
        wanted: text(svid.as_ref().map(|svid| &svid.serial)),
        acknowledged: text(state.acknowledged.get(&wanted.id)),
        served: text(state.served.get(&wanted.id)),
        not_after: svid.map(|svid| timestamp(svid.lifetime.not_after)),
    }
}

fn consumer(it: &Reported) -> wire::ConsumerStatus {
    wire::ConsumerStatus {
        id: it.id.clone(),
        kind: it.kind.as_str().to_owned(),
        resource: it.resource.clone(),
        bundle_version: it.bundle_version.clone().unwrap_or_default(),
        connected: it.connected,
    }
}
