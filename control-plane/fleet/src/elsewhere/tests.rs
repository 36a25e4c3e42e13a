//! Rows one by one.

mod world;

use std::sync::Arc;

use super::*;
use crate::gate::Waived;
use crate::{Consumers, Reported, ReportedKind, Subscriber};

const NEW: &str = "new";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn node(n: usize) -> SpiffeId {
    SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap()
}

fn record(n: usize, end: i64) -> NodeRecord {
    NodeRecord {
        id: node(n),
        attested_at: at(0),
        credential_not_after: at(end),
    }
}

fn envoy(id: &str, version: &str, connected: bool, end: Option<i64>) -> Reported {
    Reported {
        id: id.to_owned(),
        kind: ReportedKind::Envoy,
        resource: "ROOTCA".to_owned(),
        bundle_version: Some(version.to_owned()),
        connected,
        credential_not_after: end.map(at),
        delivered_at: None,
        serials: Vec::new(),
        since: at(0),
        bundle_since: at(0),
    }
}

/// A control plane by itself.
struct Alone {
    name: &'static str,
    hub: Arc<Hub>,
    fleet: Fleet,
}

impl Alone {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            hub: Arc::default(),
            fleet: Fleet::default(),
        }
    }

    fn due(
        &self,
        nodes: &[NodeRecord],
        row: impl Fn(&SpiffeId) -> Option<Acknowledged>,
        now: i64,
    ) -> Vec<(SpiffeId, Acknowledged)> {
        due(
            nodes,
            (&self.hub, &self.fleet),
            (self.name, NEW),
            row,
            at(now),
        )
    }

    fn waiting(&self, nodes: &[NodeRecord], row: Option<&Acknowledged>, now: i64) -> Vec<String> {
        let seen = Consumers::take(nodes, (&self.hub, &self.fleet), |_| row.cloned());
        seen.waiting_for(NEW, &Waived::default(), at(now))
    }
}

fn join(plane: &Alone, n: usize, bundle: Option<&str>, behind: Vec<Reported>) -> Subscriber {
    let seat = plane.hub.join(&node(n));
    plane.fleet.joined(&node(n), at(0));
    plane.fleet.reported(&node(n), behind);
    if let Some(bundle) = bundle {
        plane.fleet.bundle_acknowledged(&node(n), bundle, at(0));
    }
    seat
}

/// The only row that is due.
fn told(plane: &Alone, nodes: &[NodeRecord], now: i64) -> Acknowledged {
    let mut rows = plane.due(nodes, |_| None, now);
    assert_eq!(rows.len(), 1);
    rows.remove(0).1
}

#[test]
fn consumers_of_another_replica_are_waited_for_by_name() {
    let (a, b, nodes) = (Alone::new("a"), Alone::new("b"), [record(1, 100)]);
    let _seat = join(&b, 1, Some("old"), vec![envoy("e", "old", true, None)]);
    let row = told(&b, &nodes, 1);
    let names = [
        "spiffe://example.org/node/1 proxy",
        "spiffe://example.org/node/1 envoy e ROOTCA",
    ];
    assert_eq!(a.waiting(&nodes, Some(&row), 1), names);
    b.fleet.bundle_acknowledged(&node(1), NEW, at(2));
    let row = told(&b, &nodes, 2);
    assert_eq!(a.waiting(&nodes, Some(&row), 2), names[1..]);
    b.fleet
        .reported(&node(1), vec![envoy("e", NEW, true, None)]);
    let row = told(&b, &nodes, 3);
    assert_eq!(a.waiting(&nodes, Some(&row), 3), [""; 0]);
    assert_eq!(
        b.due(&nodes, |_| Some(row.clone()), 4),
        [],
        "it is told once"
    );
}

/// The control plane that wrote the row may be gone, and its streams with it.
#[test]
fn stream_elsewhere_is_waited_for_until_its_credential_ends() {
    let (a, b, nodes) = (Alone::new("a"), Alone::new("b"), [record(1, 100)]);
    let _seat = join(&b, 1, None, vec![envoy("left", "old", false, Some(60))]);
    let row = told(&b, &nodes, 1);
    let waiting = |now| a.waiting(&nodes, Some(&row), now).len();
    assert_eq!([60, 61, 100, 101].map(waiting), [2, 1, 1, 0]);
    // It was renewed there meanwhile.
    assert_eq!(a.waiting(&[record(1, 200)], Some(&row), 150).len(), 1);
}

/// Its credential ends and it comes back with another: what was over for the node was not for the row.
#[test]
fn row_of_a_node_that_expired_holds_back_as_before() {
    let (a, b) = (Alone::new("a"), Alone::new("b"));
    let seat = join(&b, 1, Some("old"), vec![envoy("e", "old", true, None)]);
    let first = told(&b, &[record(1, 100)], 1);
    drop(seat);
    b.fleet.left(&node(1), at(50));
    let rows = b.due(&[record(1, 100)], |_| Some(first.clone()), 500);
    assert_eq!(a.waiting(&[record(1, 900)], Some(&rows[0].1), 500).len(), 2);
}

#[test]
fn own_stream_counts_before_what_another_says() {
    let (a, b, nodes) = (Alone::new("a"), Alone::new("b"), [record(1, 100)]);
    let there = join(&b, 1, Some(NEW), Vec::new());
    let row = told(&b, &nodes, 1);
    let _here = join(&a, 1, None, Vec::new());
    assert_eq!(a.waiting(&nodes, Some(&row), 2).len(), 1);
    assert_eq!(a.due(&nodes, |_| Some(row.clone()), 2)[0].1.replica, "a");
    // The one that it left leaves the newer row alone.
    drop(there);
    b.fleet.left(&node(1), at(3));
    let newer = told(&a, &nodes, 3);
    assert_eq!(b.due(&nodes, |_| Some(newer.clone()), 4), []);
}

#[test]
fn restart_leaves_rows_of_nodes_that_are_not_back() {
    let (b, nodes) = (Alone::new("b"), [record(1, 100)]);
    let _seat = join(&b, 1, Some(NEW), Vec::new());
    let row = told(&b, &nodes, 1);
    let again = Alone::new("b");
    assert_eq!(again.due(&nodes, |_| Some(row.clone()), 2), []);
}

#[test]
fn rows_of_one_commit_are_bounded() {
    let (b, few) = (Alone::new("b"), MAX_NAMED + 3);
    let nodes: Vec<_> = (0..MAX_ROWS + 5).map(|n| record(n, 100)).collect();
    let seats: Vec<_> = (0..nodes.len())
        .map(|n| {
            let behind = (0..few).map(|it| envoy(&it.to_string(), "old", true, None));
            let is_last = n + 1 == nodes.len();
            join(
                &b,
                n,
                Some(NEW),
                if is_last {
                    Vec::new()
                } else {
                    behind.collect()
                },
            )
        })
        .collect();
    let rows = b.due(&nodes, |_| None, 1);
    assert_eq!(rows.len(), MAX_ROWS);
    let (first, second) = (&rows[0].1, &rows[1].1);
    assert_eq!(
        (first.waiting.len(), first.more),
        (0, 0),
        "who opens the gate goes first"
    );
    assert_eq!((second.waiting.len(), second.more), (MAX_NAMED, 3));
    assert!(rows.iter().all(|(node, row)| row.is_of(node)));
    let a = Alone::new("a");
    let names = a.waiting(&nodes[..1], Some(second), 1);
    assert!(
        names.iter().any(|it| it.ends_with(" 3 more consumers")),
        "{names:?}"
    );

    let long = |n: usize| envoy(&format!("{n:0>300}"), "old", true, None);
    (0..nodes.len()).for_each(|n| b.fleet.reported(&node(n), (0..few).map(long).collect()));
    let rows = b.due(&nodes, |_| None, 1);
    let bytes: usize = rows.iter().map(|(_, row)| row.bytes()).sum();
    assert!(
        bytes <= MAX_ROWS_BYTES && rows.len() > MAX_ROWS / 2,
        "{} rows",
        rows.len()
    );
    drop(seats);
}
