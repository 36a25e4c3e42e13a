//! Wanted, acknowledged and served, node by node.
//!
//! The answer is a stream: a few nodes are read at a time, under one lock each, and no faster than the
//! operator reads. So it may be of 10,000 nodes, and neither a write waits for it nor memory.

mod listeners;
mod node;
mod refused;
mod totals;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use countersign_model::SpiffeId;
use countersign_proto::admin as wire;
use countersign_proto::convert::time::timestamp;
use futures_util::stream::{self, Stream, StreamExt as _};
use jiff::Timestamp;
use tonic::Status;

use self::node::Reading;
use self::totals::Totals;
use super::refusing::spiffe_id;
use super::{replicas, waivers};
use crate::plane::Plane;

/// Nodes that are read under one lock: some 16,000 endpoints each would still be milliseconds.
const NODES_AT_ONCE: usize = 16;
/// Most endpoints, and most consumers, in one message: some 500 kB.
const ROWS_A_MESSAGE: usize = 512;

/// The messages of one answer.
pub(crate) type Statuses = Pin<Box<dyn Stream<Item = Result<wire::StatusResponse, Status>> + Send>>;

/// What is asked for.
struct Asked {
    node: Option<SpiffeId>,
    id: Option<SpiffeId>,
    problems: bool,
}

impl Asked {
    fn read(asked: &wire::StatusRequest) -> Result<Self, Status> {
        let id = |field, text: &str| match text {
            "" => Ok(None),
            text => spiffe_id(field, text).map(Some),
        };
        Ok(Self {
            node: id("node", &asked.node)?,
            id: id("id", &asked.id)?,
            problems: asked.problems,
        })
    }
}

/// Where an answer is.
struct Progress {
    plane: Arc<Plane>,
    asked: Asked,
    now: Timestamp,
    /// Version of the newest bundle.
    bundle: String,
    totals: Totals,
    /// What is still to be read: as many nodes as are known.
    left: VecDeque<SpiffeId>,
    is_over: bool,
}

/// Answers in pieces.
pub(super) fn stream(plane: &Arc<Plane>, asked: &wire::StatusRequest) -> Result<Statuses, Status> {
    let asked = Asked::read(asked)?;
    let now = plane.clock.now();
    let bundle = plane.authority.first_bundle();
    let bundle = bundle.map_or_else(String::new, |(it, _)| it.version().to_owned());
    let mut nodes = plane.authority.nodes_and_expected();
    nodes.retain(|id| asked.node.as_ref().is_none_or(|node| node == id));
    let head = wire::StatusResponse {
        refused_attestations: Some(refused::of(plane, asked.node.as_ref())),
        ..head(plane, &bundle, now)
    };
    let progress = Progress {
        plane: plane.clone(),
        asked,
        now,
        bundle,
        totals: Totals::default(),
        left: nodes.into(),
        is_over: false,
    };
    let rest = stream::unfold(progress, Progress::next).flat_map(stream::iter);
    let head = stream::iter([head]);
    Ok(Box::pin(head.chain(rest).map(Ok)))
}

impl Progress {
    async fn next(mut self) -> Option<(Vec<wire::StatusResponse>, Self)> {
        // Others of this thread have their turn between two looks.
        tokio::task::yield_now().await;
        if self.is_over {
            return None;
        }
        let many = self.left.len().min(NODES_AT_ONCE);
        let nodes: Vec<_> = self.left.drain(..many).collect();
        if nodes.is_empty() {
            self.is_over = true;
            let last = wire::StatusResponse {
                totals: Some(std::mem::take(&mut self.totals).into()),
                ..wire::StatusResponse::default()
            };
            return Some((vec![last], self));
        }
        let overviews = self.plane.authority.overview(&nodes, self.now);
        let mut shown = Vec::new();
        for overview in &overviews {
            let reading = Reading::of(&self.plane, overview, &self.bundle, self.now);
            self.totals.add(&reading, &self.asked);
            shown.extend(reading.shown(&self.asked));
        }
        let pieces = shown.into_iter().flat_map(pieces);
        let messages = pieces.map(|piece| wire::StatusResponse {
            nodes: vec![piece],
            ..wire::StatusResponse::default()
        });
        Some((messages.collect(), self))
    }
}

/// A node in messages of a bounded size.
fn pieces(mut node: wire::NodeStatus) -> Vec<wire::NodeStatus> {
    let mut endpoints = std::mem::take(&mut node.endpoints).into_iter();
    let mut consumers = std::mem::take(&mut node.consumers).into_iter();
    let mut pieces = Vec::new();
    loop {
        let piece = wire::NodeStatus {
            endpoints: endpoints.by_ref().take(ROWS_A_MESSAGE).collect(),
            consumers: consumers.by_ref().take(ROWS_A_MESSAGE).collect(),
            ..node.clone()
        };
        pieces.push(piece);
        if endpoints.len() == 0 && consumers.len() == 0 {
            return pieces;
        }
    }
}

fn head(plane: &Plane, bundle: &str, now: Timestamp) -> wire::StatusResponse {
    let authority = &plane.authority;
    let (stamp, issued) = (authority.stamp(), authority.issued_by_kind());
    wire::StatusResponse {
        at: Some(timestamp(now)),
        trust_domain: authority.trust_domain().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: Some(timestamp(plane.started_at)),
        epoch: stamp.epoch,
        sequence: stamp.sequence,
        registrations: authority.registration_count() as u64,
        registrations_by_hand: authority.manual_count() as u64,
        registrations_refused: authority.refused_count(now) as u64,
        svids_issued: issued.svids,
        cas_issued: issued.cas,
        server_certificates_issued: issued.servers,
        api_address: plane.api_address.to_string(),
        telemetry_address: plane.telemetry_address.to_string(),
        obstacles: authority.obstacles(now),
        alarms: authority.warnings(),
        listeners: listeners::of(plane),
        bundle_version: bundle.to_owned(),
        rotation: rotation(plane, now),
        replicas: replicas::all(plane),
        level: Some(replicas::level(plane)),
        ..wire::StatusResponse::default()
    }
}

/// A prepared root, and whom it waits for.
fn rotation(plane: &Plane, now: Timestamp) -> Option<wire::RotationStatus> {
    let root = plane.authority.prepared_root()?;
    let waiting = plane.waiting_for();
    let waivers = plane.authority.waivers(now).into_iter();
    Some(wire::RotationStatus {
        key_id: root.key_id,
        not_before: Some(timestamp(root.not_before)),
        waiting_for: waivers::laggards(&waiting),
        waiting_for_more: waiting.more,
        waivers: waivers.map(waivers::shown).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_many_rows_is_told_in_pieces() {
        let node = wire::NodeStatus {
            id: "spiffe://example.org/node/a".to_owned(),
            endpoints: vec![wire::EndpointStatus::default(); 2 * ROWS_A_MESSAGE + 1],
            consumers: vec![wire::ConsumerStatus::default(); ROWS_A_MESSAGE],
            ..wire::NodeStatus::default()
        };
        let pieces = pieces(node.clone());
        let sizes = pieces
            .iter()
            .map(|it| (it.endpoints.len(), it.consumers.len()));
        let most = ROWS_A_MESSAGE;
        assert!(sizes.eq([(most, most), (most, 0), (1, 0)]));
        assert!(pieces.iter().all(|piece| piece.id == node.id));
        assert_eq!(super::pieces(wire::NodeStatus::default()).len(), 1);
    }
}
