//! Where the stream of each node is, as the control plane says that has it.

use std::collections::HashMap;

use countersign_attest::nodes::MAX_NODES;
use countersign_fleet::streams::StreamRow;
use countersign_model::tables::give_back;
use countersign_model::{Seq, SpiffeId};

/// The newest row of each node. Not more than there can be nodes: nothing is decided by it.
#[derive(Debug, Default)]
pub(crate) struct StreamRows(HashMap<SpiffeId, (StreamRow, Seq)>);

impl StreamRows {
    /// Takes what a commit wrote of a node.
    pub(crate) fn written(&mut self, node: SpiffeId, row: Option<StreamRow>, seq: Seq) {
        match row {
            Some(row) if self.0.len() < MAX_NODES || self.0.contains_key(&node) => {
                self.0.insert(node, (row, seq));
            }
            Some(_) => {}
            None => {
                self.0.remove(&node);
                give_back(&mut self.0);
            }
        }
    }

    /// That of a node, and the commit that wrote it.
    pub(crate) fn get(&self, node: &SpiffeId) -> Option<&(StreamRow, Seq)> {
        self.0.get(node)
    }

    /// The nodes whose stream is open at a control plane, as it last said.
    pub(crate) fn open_at<'a>(&'a self, replica: &'a str) -> impl Iterator<Item = &'a SpiffeId> {
        let open =
            { self.0.iter() }.filter(move |(_, (row, _))| row.open && row.replica == replica);
        open.map(|(node, _)| node)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn stream_rows_are_bounded() {
        let mut rows = StreamRows::default();
        let id = |n: usize| SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap();
        let row = StreamRow {
            replica: "b".to_owned(),
            open: true,
            since: Timestamp::UNIX_EPOCH,
        };
        (0..=MAX_NODES).for_each(|n| rows.written(id(n), Some(row.clone()), Seq(1)));
        assert!(rows.get(&id(MAX_NODES - 1)).is_some() && rows.get(&id(MAX_NODES)).is_none());
        assert_eq!(rows.open_at("b").count(), MAX_NODES);
        (0..MAX_NODES).for_each(|n| rows.written(id(n), None, Seq(2)));
        assert!(rows.0.capacity() < MAX_NODES / 16);
    }
}
