//! Nodes, for operators: who is there, who is put out, and who may come back.

use std::pin::Pin;

use countersign_authority::{Elsewhere, Eviction, ListedNode};
use countersign_proto::admin as wire;
use countersign_proto::convert::time::timestamp;
use jiff::Timestamp;
use tokio_stream::Stream;
use tonic::{Response, Status};

use super::Operator;
use super::refusing::{act, refused, spiffe_id};
use crate::plane::Plane;

/// The nodes of a list, one a message.
pub(crate) type Nodes = Pin<Box<dyn Stream<Item = Result<wire::ListedNode, Status>> + Send>>;

/// Every node, or the one that is asked for, by ID.
pub(super) fn list(
    plane: &Plane,
    asked: &wire::ListNodesRequest,
) -> Result<Response<Nodes>, Status> {
    let only = match asked.node.as_str() {
        "" => None,
        node => Some(spiffe_id("node", node)?),
    };
    let now = plane.clock.now();
    let nodes = plane.authority.list_nodes(only.as_ref(), now);
    let listed: Vec<_> = nodes.iter().map(|it| Ok(listed(plane, it, now))).collect();
    Ok(Response::new(Box::pin(tokio_stream::iter(listed))))
}

fn listed(plane: &Plane, node: &ListedNode, now: Timestamp) -> wire::ListedNode {
    let sight = plane.fleet.sight(&node.id);
    let is_connected = plane.hub.is_connected(&node.id);
    let mut connected_since = sight.and_then(|it| it.since).filter(|_| is_connected);
    let mut last_seen = sight.and_then(|it| it.last);
    let mut replica = String::new();
    match plane.authority.elsewhere(&node.id, now) {
        _ if is_connected => {
            last_seen = Some(now);
            plane.authority.replica_name().clone_into(&mut replica);
        }
        Some(Elsewhere::Open(other, since)) => {
            (connected_since, last_seen) = (Some(since), Some(now));
            replica = other;
        }
        Some(Elsewhere::Last(last)) => last_seen = last_seen.max(Some(last)),
        None => {}
    }
    let attested = node.attested.as_ref();
    let evicted = attested.and_then(|it| it.evicted.as_ref());
    wire::ListedNode {
        id: node.id.to_string(),
        lineage: attested.map_or(0, |it| it.lineage),
        attested_at: attested.map(|it| timestamp(it.at)),
        serials: attested.map_or_else(Vec::new, |it| {
            it.serials.iter().map(ToString::to_string).collect()
        }),
        credential_not_after: attested.map(|it| timestamp(it.credential_not_after)),
        connected_since: connected_since.map(timestamp),
        last_seen: last_seen.map(timestamp),
        registrations: node.registrations as u64,
        unused_tokens: node.unused_tokens as u64,
        evicted: evicted.map(ended),
        banned: node.banned.as_ref().map(ended),
        replica,
    }
}

fn ended((since, reason): &(Timestamp, String)) -> wire::Ended {
    wire::Ended {
        since: Some(timestamp(*since)),
        reason: reason.clone(),
    }
}

/// Evicts or bans a node.
pub(super) async fn evict(
    plane: &Plane,
    operator: Operator,
    asked: wire::EvictNodeRequest,
) -> Result<wire::EvictNodeResponse, Status> {
    let eviction = Eviction {
        node: spiffe_id("node", &asked.node)?,
        act: act(plane, operator, &asked.reason)?,
        is_ban: asked.ban,
    };
    let evicted = plane.authority.evict(eviction, plane.clock.now()).await;
    let evicted = evicted.map_err(|error| refused(plane, operator, &error))?;
    // A rotation may have waited for it.
    plane.fleet.touch();
    Ok(wire::EvictNodeResponse {
        log_index: evicted.log_index,
        was_connected: evicted.was_connected,
        tokens_revoked: evicted.tokens_revoked as u64,
        valid_until: evicted.valid_until.map(timestamp),
    })
}

/// Lifts a ban.
pub(super) async fn unban(
    plane: &Plane,
    operator: Operator,
    asked: wire::UnbanNodeRequest,
) -> Result<wire::UnbanNodeResponse, Status> {
    let node = spiffe_id("node", &asked.node)?;
    let act = act(plane, operator, &asked.reason)?;
    let unbanned = plane.authority.unban(&node, act, plane.clock.now()).await;
    let log_index = unbanned.map_err(|error| refused(plane, operator, &error))?;
    Ok(wire::UnbanNodeResponse { log_index })
}
