//! How full the listeners are.

use std::sync::Arc;

use countersign_proto::admin as wire;
use countersign_serve::Counters;

use crate::plane::Plane;

pub(super) fn of(plane: &Plane) -> Vec<wire::ListenerStatus> {
    plane.metrics.listeners().map(listener).into()
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
