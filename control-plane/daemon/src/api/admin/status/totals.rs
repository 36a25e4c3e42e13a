//! How many there are of everything that passes the filter.

use std::collections::BTreeMap;

use countersign_proto::admin as wire;

use super::Asked;
use super::node::Reading;

/// What is counted while the nodes are read.
#[derive(Default)]
pub(super) struct Totals {
    nodes: u64,
    connected: u64,
    nodes_needing: u64,
    endpoints: u64,
    endpoints_needing: u64,
    /// One entry a word of `standing`.
    by_state: BTreeMap<&'static str, u64>,
    consumers: u64,
    behind: u64,
}

impl Totals {
    /// Counts a node in. One without a match is none of those that are asked for.
    pub(super) fn add(&mut self, reading: &Reading<'_>, asked: &Asked) {
        let mut matches = false;
        for (_, standing) in reading.matching(asked) {
            matches = true;
            self.endpoints += 1;
            self.endpoints_needing += u64::from(standing.needs_attention);
            *self.by_state.entry(standing.state).or_default() += 1;
        }
        if asked.id.is_some() && !matches {
            return;
        }
        let (consumers, behind) = reading.consumers();
        self.nodes += 1;
        self.connected += u64::from(reading.standing.is_connected());
        self.nodes_needing += u64::from(reading.needs_attention());
        self.consumers += consumers;
        self.behind += behind;
    }
}

impl From<Totals> for wire::StatusTotals {
    fn from(it: Totals) -> Self {
        let by_state = it.by_state.into_iter();
        Self {
            nodes: it.nodes,
            nodes_connected: it.connected,
            nodes_needing_attention: it.nodes_needing,
            endpoints: it.endpoints,
            endpoints_needing_attention: it.endpoints_needing,
            by_state: by_state.map(|(state, n)| (state.to_owned(), n)).collect(),
            consumers: it.consumers,
            consumers_behind: it.behind,
        }
    }
}
