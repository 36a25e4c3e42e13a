//! The newest refused attestations, for whoever asks why a node does not come up: pure.
//!
//! Strangers fill it as well, so those alike are one row, and rows are bounded: of each source, of
//! all, and apart for evidence that proves which node it is for. Who guesses tokens displaces no row
//! of a node that shows one of ours. Nothing that a caller wrote is kept: neither token nor key.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::IpAddr;

use countersign_model::SpiffeId;
use countersign_refusal::Denied;
use jiff::Timestamp;

/// Most rows of evidence that proves a node, and most of other evidence: more than a page, and with
/// names of the greatest length one message of some 350 kB.
const MAX_ROWS: usize = 128;
/// Most rows of one source in each of them: nodes behind one address share these.
const MAX_ROWS_OF_SOURCE: usize = 16;
/// Longest reason that is kept, in bytes. Ours are shorter, unless they name a node.
const MAX_REASON_BYTES: usize = 512;

/// What was shown, as far as it is known of refused evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Showing {
    /// The name of its attestor.
    pub method: &'static str,
    /// The node that it is for, where that is proven.
    pub node: Option<SpiffeId>,
}

/// Refusals of the same source, of the same evidence for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<S> {
    /// Whom they are counted by.
    source: S,
    /// What was shown.
    pub showing: Showing,
    /// Why it was refused.
    pub code: &'static str,
    /// The same in words, of the newest.
    pub reason: String,
    /// What mends it.
    pub remedy: &'static str,
    /// From where the newest came.
    pub address: IpAddr,
    /// When the first was.
    pub first: Timestamp,
    /// When the newest was.
    pub last: Timestamp,
    /// How many there were.
    pub count: u64,
}

/// Refusals whose rows gave their places to newer ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many there were.
    pub count: u64,
    /// When the newest of them was.
    pub last: Option<Timestamp>,
}

/// What is remembered since the start, in the memory alone. `S` is what callers are counted by.
#[derive(Debug)]
pub struct Refusals<S> {
    /// For a node that is proven.
    proven: VecDeque<Row<S>>,
    /// For any other.
    unproven: VecDeque<Row<S>>,
    dropped: Dropped,
}

impl<S> Default for Refusals<S> {
    fn default() -> Self {
        Self {
            proven: VecDeque::new(),
            unproven: VecDeque::new(),
            dropped: Dropped::default(),
        }
    }
}

impl<S: Copy + Eq> Refusals<S> {
    /// Remembers a refusal of a caller.
    pub fn note(
        &mut self,
        (source, address): (S, IpAddr),
        showing: Showing,
        denied: &Denied,
        now: Timestamp,
    ) {
        let rows = match showing.node {
            Some(_) => &mut self.proven,
            None => &mut self.unproven,
        };
        let is_alike = |row: &Row<S>| {
            row.source == source && row.showing == showing && row.code == denied.code
        };
        let known = rows.iter().position(is_alike);
        let known = known.and_then(|place| rows.remove(place));
        let (first, count) = known.map_or((now, 0), |row| (row.first, row.count));
        let given = place_to_give(rows, source).and_then(|place| rows.remove(place));
        if let Some(row) = given {
            self.dropped.add(&row);
        }
        rows.push_back(Row {
            source,
            showing,
            code: denied.code,
            reason: cut(&denied.message),
            remedy: denied.remedy,
            address,
            first,
            last: now,
            count: count + 1,
        });
    }

    /// All of them, the newest first.
    pub fn newest(&self) -> Vec<Row<S>> {
        let mut rows: Vec<_> = self.proven.iter().chain(&self.unproven).cloned().collect();
        rows.sort_by_key(|row| Reverse(row.last));
        rows
    }

    /// What is not told any more.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }
}

/// Which row makes room for one more of this source: its own oldest, where it has its share. Rows
/// are in the order of their newest refusals.
fn place_to_give<S: Copy + Eq>(rows: &VecDeque<Row<S>>, source: S) -> Option<usize> {
    let own = || rows.iter().filter(|row| row.source == source).count();
    if own() >= MAX_ROWS_OF_SOURCE {
        return rows.iter().position(|row| row.source == source);
    }
    (rows.len() >= MAX_ROWS).then_some(0)
}

impl Dropped {
    fn add<S>(&mut self, row: &Row<S>) {
        self.count = self.count.saturating_add(row.count);
        self.last = self.last.max(Some(row.last));
    }
}

fn cut(reason: &str) -> String {
    reason[..reason.floor_char_boundary(MAX_REASON_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(second: u32) -> Timestamp {
        Timestamp::from_second(second.into()).unwrap()
    }

    fn denied(code: &'static str) -> Denied {
        Denied {
            code,
            message: "no such join token".to_owned(),
            remedy: "make a new one",
        }
    }

    fn showing(node: Option<u32>) -> Showing {
        Showing {
            method: "join_token",
            node: node.map(|n| SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap()),
        }
    }

    /// A refusal of this source, with evidence for this node where one is proven.
    fn note(refusals: &mut Refusals<u32>, source: u32, node: Option<u32>, second: u32) {
        let address = IpAddr::V4(Ipv4Addr::from_bits(source));
        let code = if node.is_some() {
            "token_used"
        } else {
            "token_unknown"
        };
        refusals.note((source, address), showing(node), &denied(code), at(second));
    }

    #[test]
    fn refusals_alike_are_one_row() {
        let mut refusals = Refusals::default();
        for second in [3, 5, 9] {
            note(&mut refusals, 1, None, second);
        }
        note(&mut refusals, 1, Some(7), 6);
        note(&mut refusals, 2, None, 4);
        let rows = refusals.newest();
        let seen = rows.iter().map(|row| (row.source, row.count, row.last));
        assert!(
            seen.eq([(1, 3, at(9)), (1, 1, at(6)), (2, 1, at(4))]),
            "{rows:?}"
        );
        assert_eq!((rows[0].first, rows[0].code), (at(3), "token_unknown"));
        assert_eq!(rows[0].address, IpAddr::V4(Ipv4Addr::from_bits(1)));
        assert_eq!(refusals.dropped(), Dropped::default());
    }

    #[test]
    fn refused_attestations_are_bounded_and_counted() {
        let mut refusals = Refusals::default();
        let many = u32::try_from(MAX_ROWS).unwrap() + 10;
        for source in 0..many {
            note(&mut refusals, source, None, source);
        }
        let rows = refusals.newest();
        assert_eq!(rows.len(), MAX_ROWS);
        assert_eq!((rows[0].source, rows[MAX_ROWS - 1].source), (many - 1, 10));
        let (count, last) = (10, Some(at(9)));
        assert_eq!(refusals.dropped(), Dropped { count, last });
    }

    #[test]
    fn one_source_fills_its_share_alone() {
        let mut refusals = Refusals::default();
        note(&mut refusals, 1, Some(0), 0);
        for node in 0..100 {
            note(&mut refusals, 2, Some(node), node + 1);
        }
        let rows = refusals.newest();
        let of = |source| rows.iter().filter(|row| row.source == source).count();
        assert_eq!((of(1), of(2)), (1, MAX_ROWS_OF_SOURCE));
        assert_eq!(rows[0].last, at(100), "its newest stay");
        assert_eq!(refusals.dropped().count, 100 - MAX_ROWS_OF_SOURCE as u64);
    }

    #[test]
    fn strangers_displace_no_row_of_a_proven_node() {
        let mut refusals = Refusals::default();
        note(&mut refusals, 1, Some(7), 0);
        for source in 0..1_000 {
            note(&mut refusals, source, None, source);
        }
        let rows = refusals.newest();
        assert!(rows.iter().any(|row| row.showing == showing(Some(7))));
        assert!(rows.len() <= 2 * MAX_ROWS);
    }

    #[test]
    fn long_reason_is_cut_between_characters() {
        let mut refusals = Refusals::default();
        let denied = Denied {
            message: "é".repeat(MAX_REASON_BYTES),
            ..denied("key")
        };
        let caller = (1, IpAddr::V4(Ipv4Addr::LOCALHOST));
        refusals.note(caller, showing(None), &denied, at(0));
        assert_eq!(refusals.newest()[0].reason.len(), MAX_REASON_BYTES);
    }
}
