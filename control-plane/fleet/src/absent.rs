//! What is kept of the consumers behind a node whose last stream has ended: some by name, and of the
//! others what the gate of a root needs. So a node that is away costs a few kilobytes.

use jiff::Timestamp;

use super::{Reported, ReportedKind};

/// Most consumers behind an absent node that are kept by name.
pub(super) const MAX_ABSENT: usize = 16;

/// The consumers that are not kept by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// How many they are.
    pub count: usize,
    /// The bundle that every one of them has; `None` where that is not one.
    pub bundle_version: Option<String>,
    /// When the last one was delivered it that cannot acknowledge.
    pub delivered_at: Option<Timestamp>,
    /// When the last credential that one of them was given ends.
    pub until: Option<Timestamp>,
}

/// Splits what was reported into those that are kept and the rest. Who validates with no bundle
/// holds nothing back and is kept last.
pub(super) fn split(mut reported: Vec<Reported>) -> (Vec<Reported>, Option<Crowd>) {
    if reported.len() <= MAX_ABSENT {
        reported.shrink_to_fit();
        return (reported, None);
    }
    reported.sort_by_key(|it| !it.validates());
    let rest = reported.split_off(MAX_ABSENT);
    reported.shrink_to_fit();
    let rest: Vec<_> = rest.into_iter().filter(Reported::validates).collect();
    (reported, Crowd::of(&rest))
}

impl Crowd {
    fn of(rest: &[Reported]) -> Option<Self> {
        let first = rest.first()?;
        let has_same = |it: &Reported| {
            let is_proved = it.kind == ReportedKind::Envoy || it.delivered_at.is_some();
            is_proved && it.bundle_version == first.bundle_version
        };
        let unacknowledged = rest
            .iter()
            .filter(|it| it.kind == ReportedKind::WorkloadApi);
        Some(Self {
            count: rest.len(),
            bundle_version: first
                .bundle_version
                .clone()
                .filter(|_| rest.iter().all(has_same)),
            delivered_at: unacknowledged.filter_map(|it| it.delivered_at).max(),
            until: rest.iter().filter_map(|it| it.credential_not_after).max(),
        })
    }

    /// Both in one.
    pub(super) fn together(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(one), Some(other)) = (&one, &other) else {
            return one.or(other);
        };
        let has_same = one.bundle_version == other.bundle_version;
        Some(Self {
            count: one.count + other.count,
            bundle_version: one.bundle_version.clone().filter(|_| has_same),
            delivered_at: one.delivered_at.max(other.delivered_at),
            until: one.until.max(other.until),
        })
    }
}

#[cfg(test)]
mod tests {
    use countersign_footprint::{alone, kept_by};
    use countersign_model::{Serial, SpiffeId};

    use super::*;
    use crate::Fleet;
    use crate::report::MAX_CONSUMERS;

    /// What one absent node may cost beside its entitlements.
    const MOST_BYTES: usize = 64 * 1_024;

    #[test]
    fn consumers_behind_an_absent_node_are_few_bytes() {
        let test = concat!(
            "absent::tests::",
            "consumers_behind_an_absent_node_are_few_bytes"
        );
        alone(test, || {
            let longest = |n: usize| Reported {
                id: format!("{n:0>328}"),
                kind: ReportedKind::Envoy,
                resource: "r".repeat(264),
                bundle_version: Some("0".repeat(128)),
                connected: true,
                credential_not_after: None,
                delivered_at: None,
                serials: vec![Serial::new(0x01_0000, 7, [1; 8]).unwrap(); 8],
                since: Timestamp::UNIX_EPOCH,
                bundle_since: Timestamp::UNIX_EPOCH,
            };
            let node = SpiffeId::new("spiffe://example.org/node/a").unwrap();
            let (fleet, kept) = kept_by(|| {
                let fleet = Fleet::default();
                fleet.joined(&node, Timestamp::UNIX_EPOCH);
                fleet.reported(&node, (0..MAX_CONSUMERS).map(longest).collect());
                fleet.left(&node, Timestamp::UNIX_EPOCH);
                fleet
            });
            eprintln!("{kept} bytes");
            assert!(kept < MOST_BYTES, "{kept} bytes");
            let state = fleet.node(&node);
            let crowd = state.crowd.unwrap();
            assert_eq!(state.consumers.len() + crowd.count, MAX_CONSUMERS);
        });
    }

    #[test]
    fn report_stays_whole_while_a_stream_is_open() {
        let fleet = Fleet::default();
        let node = SpiffeId::new("spiffe://example.org/node/a").unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let one = Reported {
            id: "envoy".to_owned(),
            kind: ReportedKind::Envoy,
            resource: "ROOTCA".to_owned(),
            bundle_version: None,
            connected: true,
            credential_not_after: None,
            delivered_at: None,
            serials: Vec::new(),
            since: now,
            bundle_since: now,
        };
        // The second takes the first over, whose end comes late.
        fleet.joined(&node, now);
        fleet.joined(&node, now);
        fleet.reported(&node, vec![one; MAX_ABSENT + 1]);
        fleet.left(&node, now);
        assert_eq!(fleet.node(&node).crowd, None);
        fleet.left(&node, now);
        assert_eq!(fleet.node(&node).crowd.unwrap().count, 1);
    }
}
