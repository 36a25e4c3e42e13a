//! Everybody who validates with the trust bundle, from four sources: the nodes that attested,
//! their open streams, what they reported about the consumers behind them, and what other control
//! planes say of the nodes that have their streams there.

use countersign_model::SpiffeId;
use jiff::Timestamp;

use super::gate::{Consumer, Evidence, GateOpen, Waived};
use super::hub::Hub;
use super::{Acknowledged, Crowd, Fleet, NodeRecord, NodeState, Reported, ReportedKind};

/// The consumers at one moment.
#[derive(Debug)]
pub struct Consumers {
    consumers: Vec<Consumer>,
}

impl Consumers {
    /// Takes stock. A node that attested but said nothing since is there without evidence. Of one that has
    /// no stream here, what another control plane says `elsewhere` counts, if it says something.
    pub fn take(
        nodes: &[NodeRecord],
        (hub, fleet): (&Hub, &Fleet),
        elsewhere: impl Fn(&SpiffeId) -> Option<Acknowledged>,
    ) -> Self {
        let consumers = nodes.iter().flat_map(|record| {
            let connected = hub.is_connected(&record.id);
            match (!connected).then(|| elsewhere(&record.id)).flatten() {
                Some(told) => told.consumers(record),
                None => of_node(record, connected, fleet.node(&record.id)),
            }
        });
        Self {
            consumers: consumers.collect(),
        }
    }

    /// All of them, live or not.
    pub fn all(&self) -> &[Consumer] {
        &self.consumers
    }

    /// Live consumers without this bundle that are not waived.
    pub fn waiting_for(&self, version: &str, waived: &Waived, now: Timestamp) -> Vec<String> {
        super::gate::waiting_for(&self.consumers, version, waived, now)
    }

    /// The same, with what is known of each.
    pub fn laggards(&self, version: &str, waived: &Waived, now: Timestamp) -> Vec<Consumer> {
        let laggards = super::gate::laggards(&self.consumers, version, waived, now);
        laggards.cloned().collect()
    }

    /// The gate of a root in the bundle of this version.
    ///
    /// # Errors
    /// Whom it waits for.
    pub fn gate(
        &self,
        version: &str,
        waived: &Waived,
        now: Timestamp,
    ) -> Result<GateOpen, Vec<String>> {
        let waiting = self.waiting_for(version, waived, now);
        if waiting.is_empty() {
            return Ok(GateOpen::new(version));
        }
        Err(waiting)
    }
}

/// What operators know the proxy of a node by.
pub(super) fn proxy_of(node: &SpiffeId) -> String {
    format!("{node} proxy")
}

pub(super) fn of_node(record: &NodeRecord, connected: bool, state: NodeState) -> Vec<Consumer> {
    let proxy = Consumer {
        name: proxy_of(&record.id),
        evidence: state
            .bundle
            .map_or(Evidence::Nothing, Evidence::Acknowledged),
        connected,
        replica: None,
        credential_not_after: Some(record.credential_not_after),
    };
    let behind = state.consumers.into_iter().filter(Reported::validates);
    let behind = behind.map(|it| behind_node(record, connected, &it));
    let crowd = { state.crowd.into_iter() }.map(|crowd| of_crowd(record, connected, crowd));
    let carried = { state.carried.crowd.into_iter() }.map(|crowd| {
        let until = crowd.until.map(|end| end.min(record.credential_not_after));
        let carried = of_crowd(record, false, crowd);
        Consumer {
            credential_not_after: until,
            ..carried
        }
    });
    let crowds = crowd.chain(carried);
    std::iter::once(proxy).chain(behind).chain(crowds).collect()
}

/// Whatever a consumer behind a node holds, the node was given: its credential ends no later
/// than the node's newest. Of a node that is away nobody knows which streams are open there.
fn behind_node(record: &NodeRecord, node_connected: bool, reported: &Reported) -> Consumer {
    let end = match reported.credential_not_after {
        Some(end) if node_connected => end.min(record.credential_not_after),
        None if node_connected => Timestamp::MIN,
        _ => record.credential_not_after,
    };
    let kind = reported.kind.as_str();
    Consumer {
        name: format!("{} {kind} {} {}", record.id, reported.id, reported.resource),
        evidence: evidence(reported),
        connected: node_connected && reported.connected,
        replica: None,
        credential_not_after: Some(end),
    }
}

/// Those behind a node that was away and has not reported since.
fn of_crowd(record: &NodeRecord, connected: bool, crowd: Crowd) -> Consumer {
    Consumer {
        name: format!("{} {} more consumers", record.id, crowd.count),
        evidence: match (crowd.bundle_version, crowd.delivered_at) {
            (Some(version), Some(at)) => Evidence::Delivered(version, at),
            (Some(version), None) => Evidence::Acknowledged(version),
            (None, _) => Evidence::Nothing,
        },
        connected,
        replica: None,
        credential_not_after: Some(record.credential_not_after),
    }
}

fn evidence(reported: &Reported) -> Evidence {
    match (
        &reported.bundle_version,
        reported.kind,
        reported.delivered_at,
    ) {
        (Some(version), ReportedKind::WorkloadApi, Some(at)) => {
            Evidence::Delivered(version.clone(), at)
        }
        (Some(version), ReportedKind::Envoy, _) => Evidence::Acknowledged(version.clone()),
        _ => Evidence::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use countersign_model::SpiffeId;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn record() -> NodeRecord {
        NodeRecord {
            id: SpiffeId::new("spiffe://example.org/node/a").unwrap(),
            attested_at: at(0),
            credential_not_after: at(100),
        }
    }

    fn envoy(version: &str, connected: bool, end: Option<i64>) -> Reported {
        Reported {
            id: "envoy-1".to_owned(),
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

    fn waiting(hub: &Hub, fleet: &Fleet, now: i64) -> usize {
        let consumers = Consumers::take(&[record()], (hub, fleet), |_| None);
        consumers
            .waiting_for("new", &Waived::default(), at(now))
            .len()
    }

    #[test]
    fn a_node_unheard_since_a_restart_is_waited_for() {
        let (hub, fleet) = (Hub::default(), Fleet::default());
        assert_eq!(waiting(&hub, &fleet, 50), 1);
        assert_eq!(waiting(&hub, &fleet, 101), 0);
    }

    #[test]
    fn an_envoy_behind_a_node_is_waited_for() {
        let (hub, fleet) = (Arc::new(Hub::default()), Fleet::default());
        let id = record().id;
        let _stream = hub.join(&id);
        fleet.bundle_acknowledged(&id, "new", at(1));
        fleet.reported(&id, vec![envoy("old", true, None)]);
        assert_eq!(waiting(&hub, &fleet, 500), 1);
        fleet.reported(&id, vec![envoy("old", false, Some(60))]);
        assert_eq!(
            (waiting(&hub, &fleet, 60), waiting(&hub, &fleet, 61)),
            (1, 0)
        );
        fleet.reported(&id, vec![envoy("new", true, None)]);
        assert_eq!(waiting(&hub, &fleet, 50), 0);
    }

    #[test]
    fn a_subscription_without_a_bundle_is_not_waited_for() {
        let (hub, fleet) = (Arc::new(Hub::default()), Fleet::default());
        let id = record().id;
        let _stream = hub.join(&id);
        fleet.bundle_acknowledged(&id, "new", at(1));
        let certificate = Reported {
            resource: String::new(),
            bundle_version: None,
            ..envoy("", true, None)
        };
        fleet.reported(&id, vec![certificate]);
        assert_eq!(waiting(&hub, &fleet, 50), 0);
    }

    #[test]
    fn behind_an_absent_node_nothing_counts_as_closed() {
        let (hub, fleet) = (Hub::default(), Fleet::default());
        let id = record().id;
        fleet.bundle_acknowledged(&id, "new", at(1));
        fleet.reported(&id, vec![envoy("old", false, Some(9_999))]);
        assert_eq!(
            (waiting(&hub, &fleet, 100), waiting(&hub, &fleet, 101)),
            (1, 0)
        );
    }

    #[test]
    fn the_unnamed_behind_an_absent_node_keep_the_gate_shut() {
        let (hub, fleet) = (Hub::default(), Fleet::default());
        let id = record().id;
        let names = |now| {
            let consumers = Consumers::take(&[record()], (&hub, &fleet), |_| None);
            consumers.waiting_for("new", &Waived::default(), at(now))
        };
        let cases = [("old", "old", 4), ("new", "old", 1), ("new", "new", 0)];
        for (first, last, left) in cases {
            fleet.joined(&id, at(1));
            fleet.bundle_acknowledged(&id, "new", at(1));
            let mut behind = vec![envoy(first, true, None); 19];
            behind.push(envoy(last, true, None));
            fleet.reported(&id, behind);
            fleet.left(&id, at(2));
            let names = names(50);
            let unnamed = names.iter().filter(|it| it.ends_with(" 4 more consumers"));
            assert_eq!(unnamed.count(), usize::from(left > 0), "{names:?}");
            assert_eq!(names.is_empty(), left == 0);
        }
        assert_eq!(names(101), [""; 0]);
    }

    /// Who cannot acknowledge counts after the grace of the last one.
    #[test]
    fn the_unnamed_without_acknowledgement_wait_for_the_last_delivery() {
        let (hub, fleet) = (Hub::default(), Fleet::default());
        let id = record().id;
        let delivered = |second: Option<i64>| Reported {
            kind: ReportedKind::WorkloadApi,
            delivered_at: second.map(at),
            ..envoy("new", true, None)
        };
        let mut last = [Some(40), None].into_iter().map(delivered);
        for expected in [(1, 0), (1, 1)] {
            fleet.joined(&id, at(1));
            fleet.bundle_acknowledged(&id, "new", at(1));
            let mut behind = vec![delivered(Some(10)); 17];
            behind.extend(last.next());
            fleet.reported(&id, behind);
            fleet.left(&id, at(45));
            assert_eq!(
                (waiting(&hub, &fleet, 49), waiting(&hub, &fleet, 50)),
                expected
            );
        }
    }

    /// An Envoy that has not come back since its sidecar started again still validates with what it has.
    #[test]
    fn consumers_of_a_sidecar_that_ended_are_waited_for() {
        let (hub, fleet) = (Arc::new(Hub::default()), Fleet::default());
        let id = record().id;
        let _stream = hub.join(&id);
        let begin = |behind: Vec<Reported>, second| {
            fleet.joined(&id, at(second));
            fleet.bundle_acknowledged(&id, "new", at(second));
            fleet.reported(&id, behind);
        };
        begin(vec![envoy("old", true, Some(60))], 1);
        begin(Vec::new(), 2);
        assert_eq!(
            (waiting(&hub, &fleet, 60), waiting(&hub, &fleet, 61)),
            (1, 0)
        );
        let another = Reported {
            id: "envoy-2".to_owned(),
            ..envoy("new", true, None)
        };
        fleet.reported(&id, vec![another]);
        assert_eq!(waiting(&hub, &fleet, 50), 1, "another one came");
        fleet.reported(&id, vec![envoy("new", true, None)]);
        assert_eq!(waiting(&hub, &fleet, 50), 0, "it came back");
        fleet.reported(&id, Vec::new());
        assert_eq!(
            waiting(&hub, &fleet, 50),
            0,
            "the process that knew it says so"
        );
    }

    #[test]
    fn many_consumers_of_a_sidecar_that_ended_are_waited_for() {
        let (hub, fleet) = (Arc::new(Hub::default()), Fleet::default());
        let id = record().id;
        let _stream = hub.join(&id);
        let named = |n: usize| Reported {
            id: format!("envoy-{n}"),
            ..envoy("old", true, Some(60))
        };
        let many = || (0..40).map(named).collect::<Vec<_>>();
        for (told, left) in [(Vec::new(), 17), (many(), 40)] {
            fleet.joined(&id, at(1));
            fleet.reported(&id, many());
            fleet.left(&id, at(2));
            fleet.joined(&id, at(3));
            fleet.bundle_acknowledged(&id, "new", at(3));
            fleet.reported(&id, told);
            assert_eq!(waiting(&hub, &fleet, 60), left);
        }
        fleet.joined(&id, at(61));
        fleet.bundle_acknowledged(&id, "new", at(61));
        fleet.reported(&id, Vec::new());
        assert_eq!(waiting(&hub, &fleet, 62), 0, "what they held has ended");
    }

    #[test]
    fn a_new_stream_says_again_what_it_holds() {
        let fleet = Fleet::default();
        let id = record().id;
        fleet.bundle_acknowledged(&id, "new", at(1));
        fleet.reported(&id, vec![envoy("old", true, None)]);
        fleet.joined(&id, at(1));
        assert_eq!(fleet.node(&id).bundle, None);
        assert_eq!(fleet.node(&id).consumers.len(), 1);
    }
}
