//! What control planes that share a database tell each other of the streams of nodes: a row for each node, of
//! the one that has its stream, or had it last. For operators alone: nothing is decided by it.
//!
//! A row is written where a stream opened or ended, so a fleet that stands still costs nothing.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_model::SpiffeId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Fleet, Hub, MAX_NODES};

/// Most rows of one commit.
pub const MAX_ROWS: usize = 512;

/// Where the stream of a node is, or was last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRow {
    /// The control plane that says so.
    pub replica: String,
    /// Whether it is open.
    pub open: bool,
    /// Since when it is or is not.
    pub since: Timestamp,
}

/// The nodes whose streams opened or ended since that was told.
#[derive(Debug, Default)]
pub(super) struct Moved(Mutex<BTreeSet<SpiffeId>>);

impl Moved {
    pub(super) fn note(&self, node: &SpiffeId) {
        let mut moved = self.lock();
        if moved.len() < MAX_NODES {
            moved.insert(node.clone());
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn take(&self, most: usize) -> Vec<SpiffeId> {
        let mut moved = self.lock();
        std::iter::from_fn(|| moved.pop_first())
            .take(most)
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<SpiffeId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows that this control plane has to write; the next ones follow when these are written. Those that
/// could not be written are [noted again](Fleet::moved_again).
pub fn due(
    (hub, fleet): (&Hub, &Fleet),
    replica: &str,
    row: impl Fn(&SpiffeId) -> Option<StreamRow>,
    now: Timestamp,
) -> Vec<(SpiffeId, StreamRow)> {
    let moved = fleet.moved.take(MAX_ROWS).into_iter();
    let next = moved.filter_map(|node| {
        let (sight, row) = (fleet.sight(&node), row(&node));
        let open = hub.is_connected(&node);
        // Of a node that went elsewhere the other one knows more.
        let is_ours = row
            .as_ref()
            .is_some_and(|it| it.replica == replica && it.open);
        if !open && !is_ours {
            return None;
        }
        let since = sight.and_then(|it| if open { it.since } else { it.last });
        let next = StreamRow {
            replica: replica.to_owned(),
            open,
            since: since.unwrap_or(now),
        };
        (row.as_ref() != Some(&next)).then_some((node, next))
    });
    next.collect()
}

impl Fleet {
    /// The streams of these nodes are to be told of again: that did not succeed, or what is told is of
    /// the process before this one.
    pub fn moved_again(&self, nodes: impl IntoIterator<Item = SpiffeId>) {
        nodes.into_iter().for_each(|node| self.moved.note(&node));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::Subscriber;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id(n: usize) -> SpiffeId {
        SpiffeId::new(&format!("spiffe://example.org/node/{n:04}")).unwrap()
    }

    /// A control plane, and the rows that all of them share.
    struct Plane {
        name: &'static str,
        hub: Arc<Hub>,
        fleet: Fleet,
    }

    type Rows = BTreeMap<SpiffeId, StreamRow>;

    impl Plane {
        fn new(name: &'static str) -> Self {
            Self {
                name,
                hub: Arc::default(),
                fleet: Fleet::default(),
            }
        }

        fn opens(&self, n: usize, second: i64) -> Subscriber {
            self.fleet.joined(&id(n), at(second));
            self.hub.join(&id(n))
        }

        fn ends(&self, stream: Subscriber, n: usize, second: i64) {
            drop(stream);
            self.fleet.left(&id(n), at(second));
        }

        /// Writes what is due, and says how much that was.
        fn tells(&self, rows: &mut Rows) -> usize {
            let known = |node: &SpiffeId| rows.get(node).cloned();
            let due = due((&self.hub, &self.fleet), self.name, known, at(900));
            let many = due.len();
            rows.extend(due);
            many
        }
    }

    fn row(replica: &str, open: bool, since: i64) -> StreamRow {
        StreamRow {
            replica: replica.to_owned(),
            open,
            since: at(since),
        }
    }

    #[test]
    fn row_of_a_stream_is_of_the_replica_that_has_it() {
        let (a, b, mut rows) = (Plane::new("a"), Plane::new("b"), Rows::new());
        let at_a = a.opens(1, 10);
        assert_eq!((a.tells(&mut rows), b.tells(&mut rows)), (1, 0));
        assert_eq!(rows[&id(1)], row("a", true, 10));
        assert_eq!(a.tells(&mut rows), 0, "nothing happened");
        // It goes over, whichever of the two says so first.
        let at_b = b.opens(1, 20);
        a.ends(at_a, 1, 21);
        assert_eq!((b.tells(&mut rows), a.tells(&mut rows)), (1, 0));
        assert_eq!(rows[&id(1)], row("b", true, 20));
        let again = a.opens(1, 30);
        b.ends(at_b, 1, 31);
        assert_eq!((b.tells(&mut rows), a.tells(&mut rows)), (1, 1));
        assert_eq!(rows[&id(1)], row("a", true, 30));
        a.ends(again, 1, 40);
        a.tells(&mut rows);
        assert_eq!(rows[&id(1)], row("a", false, 40));
    }

    #[test]
    fn rows_of_streams_are_bounded_and_none_is_lost() {
        let (a, mut rows) = (Plane::new("a"), Rows::new());
        let streams: Vec<_> = (0..MAX_ROWS + 7).map(|n| a.opens(n, 1)).collect();
        assert_eq!(a.tells(&mut rows), MAX_ROWS);
        assert_eq!((a.tells(&mut rows), a.tells(&mut rows)), (7, 0));
        // The commit was not made.
        drop(streams);
        a.fleet.moved_again((0..3).map(id));
        let lost = due((&a.hub, &a.fleet), "a", |it| rows.get(it).cloned(), at(5));
        a.fleet.moved_again(lost.into_iter().map(|(node, _)| node));
        assert_eq!(a.tells(&mut rows), 3);
        assert!((0..3).all(|n| !rows[&id(n)].open));
    }
}
