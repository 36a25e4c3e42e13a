//! Who of a node lacks the bundle of a prepared root, as the control plane says that has the node's stream.

use std::collections::HashMap;

use countersign_attest::nodes::MAX_NODES;
use countersign_fleet::Acknowledged;
use countersign_model::SpiffeId;
use countersign_model::tables::give_back;

/// The newest row of each node; none while no root is prepared. Not more than there can be nodes: what is
/// not remembered opens no gate.
#[derive(Debug, Default)]
pub(crate) struct AcknowledgedRows(HashMap<SpiffeId, Acknowledged>);

impl AcknowledgedRows {
    /// Takes what a commit wrote of a node. What cannot be about that node opens no gate, and shows nothing.
    pub(crate) fn written(&mut self, node: SpiffeId, row: Option<Acknowledged>) {
        match row.filter(|row| row.is_of(&node)) {
            Some(row) if self.0.len() < MAX_NODES || self.0.contains_key(&node) => {
                self.0.insert(node, row);
            }
            Some(_) => {}
            None => {
                self.0.remove(&node);
                give_back(&mut self.0);
            }
        }
    }

    /// That of a node.
    pub(crate) fn get(&self, node: &SpiffeId) -> Option<&Acknowledged> {
        self.0.get(node)
    }

    /// The nodes that have one.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &SpiffeId> {
        self.0.keys()
    }

    /// All of them.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SpiffeId, &Acknowledged)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_rows_are_bounded_and_of_their_node() {
        let mut rows = AcknowledgedRows::default();
        let id = |n: usize| SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap();
        let row = |name: &str| {
            let row = serde_json::json!({
                "replica": "b", "bundle_version": "v2", "connected": true, "more": 0,
                "waiting": [{ "name": name, "connected": true, "until": null }],
            });
            serde_json::from_value::<Acknowledged>(row).unwrap()
        };
        for n in 0..=MAX_NODES {
            rows.written(id(n), Some(row(&format!("{} proxy", id(n)))));
        }
        assert_eq!(rows.nodes().count(), MAX_NODES);
        for name in [
            "spiffe://example.org/node/7 \u{1b}[2J",
            "spiffe://example.org/node/77 proxy",
        ] {
            rows.written(id(7), Some(row(name)));
            assert_eq!(rows.get(&id(7)), None, "{name:?}");
        }
        (0..MAX_NODES).for_each(|n| rows.written(id(n), None));
        assert!(rows.0.capacity() < MAX_NODES / 16);
    }
}
