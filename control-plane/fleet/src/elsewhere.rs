//! What control planes that share a database tell each other of the consumers of their nodes, while a root
//! is prepared: a row for each node, of the one where the node has its stream.
//!
//! A row says who of a node does not have the bundle. It counts as what its writer knew: who had the bundle
//! keeps it, and who comes later behind that node is given what the node has. So a row that is late, or whose
//! writer is gone, is never more than what was so.

use countersign_model::SpiffeId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::consumers::{of_node, proxy_of};
use super::gate::{Consumer, Evidence};
use super::report::is_printable;
use super::{Fleet, Hub, NodeRecord, NodeState};

/// Most consumers of a node that a row names; of the others it has their number.
const MAX_NAMED: usize = 8;
/// Longest name of a consumer that is read from a row, in bytes: the ID of its node, and what a node may report.
const MAX_NAME_BYTES: usize = 4_096;
/// Most rows of one commit.
pub const MAX_ROWS: usize = 512;
/// Most bytes of their names.
const MAX_ROWS_BYTES: usize = 1 << 20;

/// What the control plane that has the stream of a node says of the node's consumers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The control plane that says so.
    pub replica: String,
    /// The bundle that is spoken of.
    pub bundle_version: String,
    /// Whether the stream of the node was open.
    pub connected: bool,
    /// Those who do not have the bundle, the first of them.
    pub waiting: Vec<Lacking>,
    /// How many there are beside.
    pub more: usize,
}

/// One that does not have the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    /// What operators know it by.
    pub name: String,
    /// Whether its stream was open.
    pub connected: bool,
    /// What it holds ends then, where that is before the node's; only of one that left a connected node.
    pub until: Option<Timestamp>,
}

impl Acknowledged {
    /// What is known here of a node.
    fn of(
        record: &NodeRecord,
        connected: bool,
        state: NodeState,
        (replica, bundle_version): (&str, &str),
        now: Timestamp,
    ) -> Self {
        let has_left = |it: &Consumer| connected && !it.connected;
        let lacking = of_node(record, connected, state).into_iter();
        let lacking = lacking.filter(|it| !it.has(bundle_version, now));
        // Only its own end counts: that of the node may move on, and is looked up by whoever reads this.
        let lacking = lacking.filter(|it| !has_left(it) || it.is_live(now));
        let mut waiting: Vec<_> = lacking
            .map(|it| Lacking {
                connected: it.connected,
                until: it.credential_not_after.filter(|_| has_left(&it)),
                name: it.name,
            })
            .collect();
        let more = waiting.len().saturating_sub(MAX_NAMED);
        waiting.truncate(MAX_NAMED);
        Self {
            replica: replica.to_owned(),
            bundle_version: bundle_version.to_owned(),
            connected,
            waiting,
            more,
        }
    }

    /// Whether it can be about this node, and can be shown.
    pub fn is_of(&self, node: &SpiffeId) -> bool {
        let is_name = |it: &Lacking| {
            let name = it.name.strip_prefix(node.as_str());
            it.name.len() <= MAX_NAME_BYTES
                && is_printable(&it.name)
                && name.is_some_and(|rest| rest.starts_with(' '))
        };
        self.waiting.len() <= MAX_NAMED && self.waiting.iter().all(is_name)
    }

    /// The consumers of the node, for the gate. Whether a stream that was open elsewhere still is, is not
    /// known here: like behind an absent node each counts while what it may hold is valid.
    pub(super) fn consumers(self, record: &NodeRecord) -> Vec<Consumer> {
        let Self {
            replica,
            bundle_version,
            connected,
            waiting,
            more,
        } = self;
        let consumer = |name, evidence, connected, until: Option<Timestamp>| Consumer {
            name,
            evidence,
            connected,
            replica: Some(replica.clone()),
            credential_not_after: Some(until.map_or(record.credential_not_after, |until| {
                until.min(record.credential_not_after)
            })),
        };
        let proxy = proxy_of(&record.id);
        let has_it = !waiting.iter().any(|it| it.name == proxy);
        let proxy = has_it.then(|| {
            let evidence = Evidence::Acknowledged(bundle_version);
            consumer(proxy, evidence, connected, None)
        });
        let unnamed = (more > 0).then(|| {
            let name = format!("{} {more} more consumers", record.id);
            consumer(name, Evidence::Nothing, connected, None)
        });
        let waiting = waiting
            .into_iter()
            .map(|it| consumer(it.name, Evidence::Nothing, it.connected, it.until));
        proxy.into_iter().chain(waiting).chain(unnamed).collect()
    }

    fn bytes(&self) -> usize {
        self.waiting.iter().map(|it| it.name.len()).sum()
    }
}

/// The rows that this control plane has to write: of nodes that have their stream here, or had it here last.
/// Those first of whom nobody is waited for. The next ones follow when these are written.
pub fn due(
    nodes: &[NodeRecord],
    (hub, fleet): (&Hub, &Fleet),
    (replica, bundle_version): (&str, &str),
    row: impl Fn(&SpiffeId) -> Option<Acknowledged>,
    now: Timestamp,
) -> Vec<(SpiffeId, Acknowledged)> {
    let told = |record: &NodeRecord| {
        let (id, connected) = (&record.id, hub.is_connected(&record.id));
        let (state, row) = (fleet.node(id), row(id));
        let newest = row
            .as_ref()
            .filter(|it| it.bundle_version == bundle_version);
        // Of a node that went elsewhere the other one knows more.
        let was_here = match newest {
            Some(row) => row.replica == replica && state.sight.since.is_some(),
            None => state.bundle.as_deref() == Some(bundle_version),
        };
        if !connected && !was_here {
            return None;
        }
        let said = (replica, bundle_version);
        let next = Acknowledged::of(record, connected, state, said, now);
        (row.as_ref() != Some(&next)).then(|| (id.clone(), next))
    };
    let mut rows: Vec<_> = nodes.iter().filter_map(told).collect();
    rows.sort_by_key(|(_, row)| (row.waiting.len(), row.more));
    rows.truncate(MAX_ROWS);
    let mut bytes = 0;
    rows.into_iter()
        .take_while(|(_, row)| {
            bytes += row.bytes();
            bytes <= MAX_ROWS_BYTES
        })
        .collect()
}

#[cfg(test)]
mod tests;
