//! What control planes that share a database tell each other of the streams of nodes: a row for each node, of
//! the one that has its stream, or had it last. For operators alone: nothing is decided by it.
//!
//! A row is written where a stream opened or ended, so a fleet that stands still costs nothing.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_model::{Seq, SpiffeId};
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

/// A row that is to be written, if the one that it was judged by is still the newest: another control plane
/// may have written a newer one meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Whose stream it is.
    pub node: SpiffeId,
    /// What is written.
    pub row: StreamRow,
    /// By which commit the row was written that this one replaces; `None` where there is none.
    pub instead_of: Option<Seq>,
}

/// The rows that this control plane has to write; the next ones follow when these are written. Those that
/// could not be written are [noted again](Fleet::moved_again), and judged anew. `row` is the newest of a node
/// with the commit that wrote it.
pub fn due(
    (hub, fleet): (&Hub, &Fleet),
    replica: &str,
    row: impl Fn(&SpiffeId) -> Option<(StreamRow, Seq)>,
    now: Timestamp,
) -> Vec<Due> {
    let moved = fleet.moved.take(MAX_ROWS).into_iter();
    let next = moved.filter_map(|node| {
        let sight = fleet.sight(&node);
        let (row, instead_of) = row(&node).unzip();
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
        (row.as_ref() != Some(&next)).then_some(Due {
            node,
            row: next,
            instead_of,
        })
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

    /// What is in the database: each row with its commit.
    #[derive(Clone, Debug, Default)]
    struct Rows {
        rows: BTreeMap<SpiffeId, (StreamRow, Seq)>,
        commits: u64,
    }

    impl Rows {
        fn of(&self, n: usize) -> &StreamRow {
            &self.rows[&id(n)].0
        }

        /// All of it is written, or nothing.
        fn write(&mut self, due: Vec<Due>) -> bool {
            let written = |node| self.rows.get(node).map(|(_, seq)| *seq);
            if due.iter().any(|it| written(&it.node) != it.instead_of) {
                return false;
            }
            self.commits += 1;
            let seq = Seq(self.commits);
            let rows = due.into_iter().map(|it| (it.node, (it.row, seq)));
            self.rows.extend(rows);
            true
        }
    }

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

        /// What is due as this control plane knows the rows.
        fn judges(&self, known: &Rows) -> Vec<Due> {
            let known = |node: &SpiffeId| known.rows.get(node).cloned();
            due((&self.hub, &self.fleet), self.name, known, at(900))
        }

        /// Writes what is due, and says how much that was.
        fn tells(&self, rows: &mut Rows) -> usize {
            let due = self.judges(rows);
            let many = due.len();
            assert!(due.is_empty() || rows.write(due));
            many
        }

        /// Writes what was due as it once knew the rows, then until nothing is due.
        fn tells_late(&self, due: Vec<Due>, rows: &mut Rows) {
            let nodes: Vec<_> = due.iter().map(|it| it.node.clone()).collect();
            if !rows.write(due) {
                self.fleet.moved_again(nodes);
                self.tells(rows);
            }
            assert_eq!(self.tells(rows), 0, "{}", self.name);
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
        let (a, b, mut rows) = (Plane::new("a"), Plane::new("b"), Rows::default());
        let at_a = a.opens(1, 10);
        assert_eq!((a.tells(&mut rows), b.tells(&mut rows)), (1, 0));
        assert_eq!(rows.of(1), &row("a", true, 10));
        assert_eq!(a.tells(&mut rows), 0, "nothing happened");
        // It goes over, whichever of the two says so first.
        let at_b = b.opens(1, 20);
        a.ends(at_a, 1, 21);
        assert_eq!((b.tells(&mut rows), a.tells(&mut rows)), (1, 0));
        assert_eq!(rows.of(1), &row("b", true, 20));
        let again = a.opens(1, 30);
        b.ends(at_b, 1, 31);
        assert_eq!((b.tells(&mut rows), a.tells(&mut rows)), (1, 1));
        assert_eq!(rows.of(1), &row("a", true, 30));
        a.ends(again, 1, 40);
        a.tells(&mut rows);
        assert_eq!(rows.of(1), &row("a", false, 40));
    }

    #[test]
    fn rows_of_streams_are_bounded_and_none_is_lost() {
        let (a, mut rows) = (Plane::new("a"), Rows::default());
        let streams: Vec<_> = (0..MAX_ROWS + 7).map(|n| a.opens(n, 1)).collect();
        assert_eq!(a.tells(&mut rows), MAX_ROWS);
        assert_eq!((a.tells(&mut rows), a.tells(&mut rows)), (7, 0));
        // The commit was not made.
        drop(streams);
        a.fleet.moved_again((0..3).map(id));
        let lost = a.judges(&rows);
        a.fleet.moved_again(lost.into_iter().map(|it| it.node));
        assert_eq!(a.tells(&mut rows), 3);
        assert!((0..3).all(|n| !rows.of(n).open));
    }

    /// A stream goes over, and both say so at the same moment.
    #[test]
    fn a_stream_that_ends_writes_over_no_newer_row_of_another() {
        for is_a_first in [true, false] {
            let (a, b, mut rows) = (Plane::new("a"), Plane::new("b"), Rows::default());
            let at_a = a.opens(1, 10);
            a.tells(&mut rows);
            let _at_b = b.opens(1, 20);
            a.ends(at_a, 1, 21);
            let (of_a, of_b) = (a.judges(&rows), b.judges(&rows));
            assert_eq!((of_a.len(), of_b.len()), (1, 1));
            if is_a_first {
                a.tells_late(of_a, &mut rows);
                b.tells_late(of_b, &mut rows);
            } else {
                b.tells_late(of_b, &mut rows);
                a.tells_late(of_a, &mut rows);
            }
            assert_eq!(rows.of(1), &row("b", true, 20), "a first: {is_a_first}");
        }
    }
}
