//! The newest attestations that were refused.

use countersign_attest::refusals::Row;
use countersign_model::SpiffeId;
use countersign_proto::admin as wire;
use countersign_proto::convert::time::timestamp;

use crate::plane::Plane;

/// Where one node is asked for, those of any other are left out: what proves no node may be of it.
pub(super) fn of(plane: &Plane, node: Option<&SpiffeId>) -> wire::RefusedAttestations {
    let (rows, dropped) = {
        let refusals = plane.refusals();
        (refusals.newest(), refusals.dropped())
    };
    let is_asked_for = |it: &SpiffeId| node.is_none_or(|node| node == it);
    let rows = rows.into_iter();
    let rows = rows.filter(|row| row.showing.node.as_ref().is_none_or(is_asked_for));
    wire::RefusedAttestations {
        items: rows.map(row).collect(),
        dropped: dropped.count,
        dropped_last: dropped.last.map(timestamp),
    }
}

fn row<S>(it: Row<S>) -> wire::RefusedAttestation {
    let node = it.showing.node.as_ref();
    wire::RefusedAttestation {
        first: Some(timestamp(it.first)),
        last: Some(timestamp(it.last)),
        count: it.count,
        address: it.address.to_string(),
        method: it.showing.method.to_owned(),
        node: node.map_or_else(String::new, SpiffeId::to_string),
        code: it.code.to_owned(),
        reason: it.reason,
        remedy: it.remedy.to_owned(),
    }
}
