//! The fleet: what each node acknowledged and what was seen served there.
//!
//! Kept in memory alone: after a restart nothing counts as acknowledged until a node says so, and
//! a node that is still away keeps the [`gate`] shut while a credential of it is unexpired. What other
//! control planes know of theirs is told [by rows](elsewhere) of the database that they share.

mod absent;
pub mod balance;
mod consumers;
pub mod elsewhere;
pub mod gate;
mod hub;
pub mod replicas;
mod report;
pub mod rotation;
pub mod standing;
pub mod streams;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_model::{EntitlementId, Serial, SpiffeId};
use jiff::Timestamp;
use tokio::sync::watch;

use countersign_model::tables::give_back;

pub use absent::Crowd;
pub use consumers::Consumers;
pub use elsewhere::Acknowledged;
pub use hub::{Hub, News, Subscriber};
pub use report::{Reported, ReportedKind};

/// Most nodes whose word is remembered: as many as can have attested.
const MAX_NODES: usize = countersign_attest::nodes::MAX_NODES;
/// Most entitlements of one node whose acknowledgement is remembered.
const MAX_ENDPOINTS: usize = 16_384;

/// What happened, so that exactly the streams that see it wake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// One entitlement of a node: new, changed or taken away.
    Entitlement(SpiffeId, EntitlementId),
    /// A new SVID was published.
    Svid(SpiffeId, EntitlementId),
    /// A node was put out: its stream ends.
    Evicted(SpiffeId),
    /// The trust bundle.
    Bundle,
    /// Where sidecars reach the control planes is something else than before.
    ControlPlanes,
    /// CA slots changed without the bundle: the server's own SVID should be renewed.
    Authorities,
}

/// Whose streams an event concerns.
enum Audience<'a> {
    Node(&'a SpiffeId),
    Everybody,
    Nobody,
}

impl Event {
    fn audience(&self) -> Audience<'_> {
        match self {
            Self::Entitlement(node, _) | Self::Svid(node, _) => Audience::Node(node),
            Self::Bundle | Self::ControlPlanes => Audience::Everybody,
            Self::Evicted(_) | Self::Authorities => Audience::Nobody,
        }
    }
}

/// A node that attested once.
#[derive(Clone, Debug)]
pub struct NodeRecord {
    /// Its ID.
    pub id: SpiffeId,
    /// When it attested last.
    pub attested_at: Timestamp,
    /// NotAfter of the newest certificate that it was given, over all its entitlements.
    pub credential_not_after: Timestamp,
}

/// What one node told.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// The bundle that its own proxy installed.
    pub bundle: Option<String>,
    /// When we heard so.
    pub bundle_since: Option<Timestamp>,
    /// Whether it goes to another control plane where this one wishes so.
    pub rebalances: bool,
    /// How many entitlements it enrols before anybody asks for them, where it says so.
    pub enrol_ahead: Option<usize>,
    /// The serial that it installed, by entitlement.
    pub acknowledged: BTreeMap<EntitlementId, Serial>,
    /// The serial last seen in a handshake, by entitlement.
    pub served: BTreeMap<EntitlementId, Serial>,
    /// The consumers behind it, as last reported.
    pub consumers: Vec<Reported>,
    /// Those of them that are not kept while it is away.
    pub crowd: Option<Crowd>,
    /// Those of them that a process of the sidecar told of which has ended.
    carried: Carried,
    /// When its stream was open.
    pub sight: Sight,
    /// How many handshakes failed at it because of a certificate, since its process started.
    pub handshakes_failed: Option<u64>,
}

impl NodeState {
    /// Of those who are carried, whoever holds nothing good any more.
    fn forget_ended(&mut self, now: Timestamp) {
        let Carried { ids, crowd, .. } = &mut self.carried;
        let is_good = |end: Option<Timestamp>| end.is_some_and(|end| now <= end);
        self.consumers
            .retain(|it| !ids.contains(&it.id) || is_good(it.credential_not_after));
        ids.retain(|id| self.consumers.iter().any(|it| it.id == *id));
        *crowd = crowd.take().filter(|crowd| is_good(crowd.until));
    }

    fn report(&mut self, consumers: Vec<Reported>) {
        let before = std::mem::replace(&mut self.consumers, consumers);
        let mut before: HashMap<String, Reported> =
            before.into_iter().map(|it| (it.id.clone(), it)).collect();
        let mut others = 0;
        for consumer in &mut self.consumers {
            match before.remove(&consumer.id) {
                Some(before) => consumer.follow(&before),
                None => others += usize::from(consumer.validates()),
            }
        }
        let is_first = std::mem::take(&mut self.carried.is_told_next);
        let crowd = self.crowd.take();
        let missing = before.into_values().filter(Reported::validates);
        let missing = missing.filter(|it| is_first || self.carried.ids.contains(&it.id));
        let (mut missing, more) = absent::split(missing.collect());
        missing.iter_mut().for_each(|it| it.connected = false);
        self.carried.ids = missing.iter().map(|it| it.id.clone()).collect();
        self.consumers.append(&mut missing);
        if is_first {
            // Told by the same process, those who were not kept by name are among these.
            let crowd = crowd.filter(|crowd| others < crowd.count);
            self.carried.crowd = Crowd::together(crowd, more);
        }
    }
}

/// Consumers that a node told of on an earlier stream and not on this one.
#[derive(Clone, Debug, Default)]
struct Carried {
    /// Nothing was told on this stream yet.
    is_told_next: bool,
    /// Those that are kept by name.
    ids: BTreeSet<String>,
    /// The rest.
    crowd: Option<Crowd>,
}

/// When the stream of a node was open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight {
    /// How many are open: more than one where one takes another over.
    pub open: u32,
    /// When the newest one opened.
    pub since: Option<Timestamp>,
    /// When the last one that ended did.
    pub last: Option<Timestamp>,
}

/// What every node told.
#[derive(Debug, Default)]
pub struct Fleet {
    nodes: Mutex<HashMap<SpiffeId, NodeState>>,
    moved: streams::Moved,
    changed: watch::Sender<()>,
}

impl Fleet {
    /// A new stream of a node: what it holds it says again. The consumers behind it stay until
    /// it reports them anew, so that the gate cannot slip through between.
    pub fn joined(&self, node: &SpiffeId, now: Timestamp) {
        self.update(node, |state| {
            state.bundle = None;
            state.bundle_since = None;
            state.acknowledged.clear();
            state.carried.is_told_next = true;
            state.forget_ended(now);
            state.sight.since = Some(now);
            state.sight.open += 1;
        });
        self.moved.note(node);
    }

    /// A stream of a node ended. With the last one most of what is behind it is kept as a number.
    pub fn left(&self, node: &SpiffeId, now: Timestamp) {
        self.update(node, |state| {
            state.sight.last = Some(now);
            state.sight.open = state.sight.open.saturating_sub(1);
            if state.sight.open == 0 && state.crowd.is_none() {
                let reported = std::mem::take(&mut state.consumers);
                (state.consumers, state.crowd) = absent::split(reported);
            }
        });
        self.moved.note(node);
    }

    /// When the stream of a node was open.
    pub fn sight(&self, node: &SpiffeId) -> Option<Sight> {
        Some(self.lock().get(node)?.sight)
    }

    /// What a node says of how it enrols.
    pub fn enrols_ahead(&self, node: &SpiffeId, ahead: Option<u32>) {
        let ahead = ahead.map(|ahead| usize::try_from(ahead).unwrap_or(usize::MAX));
        self.note(node, |state| state.enrol_ahead = ahead);
    }

    /// A node says whether it goes to another control plane where this one wishes so.
    pub fn rebalances(&self, node: &SpiffeId, rebalances: bool) {
        self.note(node, |state| state.rebalances = rebalances);
    }

    /// Those of these nodes that would go to another control plane and whose stream has been open since a
    /// time: the newest first, for who came last has been here for the shortest time.
    pub fn movable(&self, nodes: &[SpiffeId], since: Timestamp) -> Vec<SpiffeId> {
        let states = self.lock();
        let movable = nodes.iter().filter_map(|node| {
            let state = states.get(node).filter(|state| state.rebalances)?;
            let opened = state.sight.since.filter(|opened| *opened <= since)?;
            Some((Reverse(opened), node))
        });
        let mut movable: Vec<_> = movable.collect();
        drop(states);
        movable.sort_unstable();
        movable.into_iter().map(|(_, node)| node.clone()).collect()
    }

    /// The node's own proxy installed a bundle. A version that cannot be one of ours is not kept:
    /// operators read it.
    pub fn bundle_acknowledged(&self, node: &SpiffeId, version: &str, now: Timestamp) {
        if !report::is_printable(version) {
            return;
        }
        self.update(node, |state| {
            state.bundle = Some(version.to_owned());
            state.bundle_since = Some(now);
        });
    }

    /// The node installed a chain.
    pub fn svid_acknowledged(&self, node: &SpiffeId, entitlement: EntitlementId, serial: Serial) {
        self.note(node, |state| {
            remember(&mut state.acknowledged, entitlement, serial);
        });
    }

    /// A serial was seen in a handshake.
    pub fn served(&self, node: &SpiffeId, entitlement: EntitlementId, serial: Serial) {
        self.note(node, |state| {
            remember(&mut state.served, entitlement, serial);
        });
    }

    /// The consumers behind a node, all that its sidecar knows. One that has just started does not know
    /// whom the one before gave something: who was told of before and is not told of now is kept as if it
    /// were away, until it is told of again or what it holds has ended.
    pub fn reported(&self, node: &SpiffeId, consumers: Vec<Reported>) {
        self.update(node, |state| state.report(consumers));
    }

    /// How many handshakes failed at a node since its process started; gives how many of them came
    /// after the last time that it told. What is told first is only where the count begins; a number
    /// that is lower is that of another process.
    pub fn handshakes_failed(&self, node: &SpiffeId, total: u64) -> u64 {
        let mut more = 0;
        self.note(node, |state| {
            let before = state.handshakes_failed.replace(total).unwrap_or(total);
            more = total.checked_sub(before).unwrap_or(total);
        });
        more
    }

    /// Says that somebody connected or left.
    pub fn touch(&self) {
        self.changed.send_replace(());
    }

    /// What a node told.
    pub fn node(&self, node: &SpiffeId) -> NodeState {
        self.lock().get(node).cloned().unwrap_or_default()
    }

    /// Marked changed by everything that could open the gate.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn update(&self, node: &SpiffeId, what: impl FnOnce(&mut NodeState)) {
        self.note(node, what);
        self.touch();
    }

    /// What cannot open the gate wakes nobody who waits for it.
    fn note(&self, node: &SpiffeId, what: impl FnOnce(&mut NodeState)) {
        let mut nodes = self.lock();
        let has_room = nodes.len() < MAX_NODES;
        match nodes.get_mut(node) {
            Some(state) => what(state),
            None if has_room => what(nodes.entry(node.clone()).or_default()),
            // What is not remembered opens no gate.
            None => {}
        }
    }

    /// Forgets nodes that are not known any more, where there are more than so many.
    pub fn keep_at_most(&self, most: usize, is_known: impl Fn(&SpiffeId) -> bool) {
        let mut nodes = self.lock();
        if nodes.len() > most {
            nodes.retain(|node, _| is_known(node));
            give_back(&mut nodes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SpiffeId, NodeState>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remember(
    serials: &mut BTreeMap<EntitlementId, Serial>,
    entitlement: EntitlementId,
    serial: Serial,
) {
    if serials.len() < MAX_ENDPOINTS || serials.contains_key(&entitlement) {
        serials.insert(entitlement, serial);
    }
}

/// A moment as a wait that is over: whether `since` is at least `wait` before `now`.
fn has_passed(since: Timestamp, wait: std::time::Duration, now: Timestamp) -> bool {
    since.checked_add(wait).is_ok_and(|end| end <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nodes_told_is_bounded_and_forgotten() {
        let fleet = Fleet::default();
        let id = |n: usize| SpiffeId::new(&format!("spiffe://example.org/node/{n}")).unwrap();
        (0..=MAX_NODES).for_each(|n| fleet.joined(&id(n), Timestamp::UNIX_EPOCH));
        assert_eq!(fleet.lock().len(), MAX_NODES);
        assert_eq!(fleet.moved.count(), MAX_NODES);
        fleet.bundle_acknowledged(&id(MAX_NODES), "v1", Timestamp::UNIX_EPOCH);
        assert_eq!(fleet.node(&id(MAX_NODES)).bundle, None);
        fleet.keep_at_most(MAX_NODES, |_| false);
        assert_eq!(fleet.lock().len(), MAX_NODES, "none is too many");
        fleet.keep_at_most(1, |node| *node == id(7));
        assert_eq!(fleet.lock().len(), 1);
        assert!(fleet.lock().capacity() < MAX_NODES / 16);
    }

    #[test]
    fn failed_handshakes_are_told_once() {
        let fleet = Fleet::default();
        let node = SpiffeId::new("spiffe://example.org/node/a").unwrap();
        let told = [3, 3, 5, 1].map(|total| fleet.handshakes_failed(&node, total));
        assert_eq!(told, [0, 0, 2, 1], "the last is of another process");
    }

    #[test]
    fn what_one_node_told_is_bounded() {
        let fleet = Fleet::default();
        let node = SpiffeId::new("spiffe://example.org/node/a").unwrap();
        let serial = Serial::new(0x01_0000, 1, [7; 8]).unwrap();
        for n in 0..=MAX_ENDPOINTS {
            let entitlement = EntitlementId::parse(&format!("reg-{n:032x}")).unwrap();
            fleet.svid_acknowledged(&node, entitlement.clone(), serial);
            fleet.served(&node, entitlement, serial);
        }
        let state = fleet.node(&node);
        assert_eq!(state.acknowledged.len(), MAX_ENDPOINTS);
        assert_eq!(state.served.len(), MAX_ENDPOINTS);
    }
}
