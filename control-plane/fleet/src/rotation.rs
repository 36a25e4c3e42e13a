//! The course of the newest rotation of the root, as the fleet lived it: who acknowledged the new
//! bundle and when, which serials were seen under which root, which handshakes failed meanwhile.
//!
//! Kept in memory alone, for operators to look at: nothing is decided by it. A control plane that
//! starts in the middle of a rotation sees what comes after its start.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_model::{Serial, SpiffeId};
use jiff::Timestamp;

use super::gate::{Consumer, Waived};
use super::has_passed;

/// Most consumers that a rotation remembers by name; of the rest their number.
pub const MAX_LANES: usize = 512;
/// Most serials under one root that are remembered of one consumer; of the rest their number.
pub const MAX_SIGHTINGS: usize = 12;
/// Most serials of one consumer, under whichever roots.
const MAX_SIGHTINGS_IN_ALL: usize = 3 * MAX_SIGHTINGS;
/// Most moments at which failed handshakes of one consumer are remembered; later ones are added to
/// the last.
pub const MAX_FAILURES: usize = 16;

/// How long after the activation a rotation is watched: what happens later has other causes.
pub const WATCHED_FOR: Duration = Duration::from_secs(3_600);

/// The roots of a rotation, and the bundle in which the new one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// Key identifier of the root that signs until the activation; `None` where there was none.
    pub old_root: Option<String>,
    /// Key identifier of the root that signs from then on.
    pub new_root: String,
    /// The version of the bundle that consumers acknowledge.
    pub bundle_version: String,
}

/// The course of one rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// What is replaced by what.
    pub succession: Succession,
    /// Since when it is watched: its beginning, or a later start of the control plane.
    pub since: Timestamp,
    /// When the new root began to sign.
    pub activated_at: Option<Timestamp>,
    /// By the names of the consumers.
    pub lanes: BTreeMap<String, Lane>,
    /// How many consumers there were beside.
    pub lanes_more: u64,
}

/// What happened at one consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// When it had the new bundle for sure: acknowledged, or delivered and the grace was over.
    pub acknowledged_at: Option<Timestamp>,
    /// Whether the gate did not wait for it because of a waiver.
    pub is_waived: bool,
    /// The serials that its own handshakes showed, in the order in which they were seen.
    pub sightings: Vec<Sighting>,
    /// How many there were beside.
    pub sightings_more: u64,
    /// Handshakes that failed because of a certificate: until when, and how many since the entry before.
    pub failures: Vec<(Timestamp, u64)>,
}

/// A serial that was seen in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When it was first seen, by the control plane's clock.
    pub at: Timestamp,
    /// Whose certificate it is.
    pub id: SpiffeId,
    /// Of the certificate.
    pub serial: Serial,
    /// Key identifier of the root above it.
    pub root: String,
}

/// The newest rotation, if there was one since the start.
#[derive(Debug, Default)]
pub struct Rotation(Mutex<Option<Course>>);

impl Rotation {
    /// A root is prepared: looks who has its bundle now.
    pub fn watch(
        &self,
        succession: &Succession,
        consumers: &[Consumer],
        waived: &Waived,
        now: Timestamp,
    ) {
        let mut newest = self.lock();
        let known = newest.take().filter(|it| it.is_of(succession));
        let mut course = known.unwrap_or_else(|| Course::begun(succession.clone(), now));
        // The bundle may change under a rotation: consumers acknowledge the newest.
        course.succession = succession.clone();
        course.look_at(consumers, waived, now);
        *newest = Some(course);
    }

    /// The root signs from now on.
    pub fn activated(&self, root: &str, now: Timestamp) {
        let mut newest = self.lock();
        let course = newest.as_mut().filter(|it| it.succession.new_root == root);
        if let Some(course) = course {
            course.activated_at.get_or_insert(now);
        }
    }

    /// Whether a handshake at this consumer is of interest.
    pub fn is_watched(&self) -> bool {
        self.lock().is_some()
    }

    /// A serial was seen in a handshake of the proxy of a node.
    pub fn seen(&self, node: &SpiffeId, sighting: Sighting) {
        self.at_proxy(node, sighting.at, |lane| lane.saw(sighting));
    }

    /// So many more handshakes failed at the proxy of a node.
    pub fn failed(&self, node: &SpiffeId, count: u64, now: Timestamp) {
        self.at_proxy(node, now, |lane| {
            let is_full = lane.failures.len() == MAX_FAILURES;
            match lane.failures.last_mut().filter(|_| is_full) {
                Some((until, last)) => (*until, *last) = (now, last.saturating_add(count)),
                None => lane.failures.push((now, count)),
            }
        });
    }

    /// The newest rotation.
    pub fn newest(&self) -> Option<Course> {
        self.lock().clone()
    }

    fn at_proxy(&self, node: &SpiffeId, now: Timestamp, what: impl FnOnce(&mut Lane)) {
        if let Some(course) = &mut *self.lock()
            && course.is_watched(now)
            && let Some(lane) = course.lane(&super::consumers::proxy_of(node))
        {
            what(lane);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Course>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    fn begun(succession: Succession, now: Timestamp) -> Self {
        Self {
            succession,
            since: now,
            activated_at: None,
            lanes: BTreeMap::new(),
            lanes_more: 0,
        }
    }

    fn is_watched(&self, now: Timestamp) -> bool {
        let activated = self.activated_at;
        activated.is_none_or(|at| !has_passed(at, WATCHED_FOR, now))
    }

    /// The bundle of a rotation may change under it: what counts is the root.
    fn is_of(&self, succession: &Succession) -> bool {
        self.succession.new_root == succession.new_root
    }

    fn look_at(&mut self, consumers: &[Consumer], waived: &Waived, now: Timestamp) {
        let version = self.succession.bundle_version.clone();
        let mut unnamed = 0;
        for consumer in consumers.iter().filter(|it| it.is_live(now)) {
            let Some(lane) = self.lane(&consumer.name) else {
                unnamed += 1;
                continue;
            };
            if lane.acknowledged_at.is_none() && consumer.has(&version, now) {
                lane.acknowledged_at = Some(now);
            }
            lane.is_waived = lane.acknowledged_at.is_none() && waived.covers(consumer, now);
        }
        self.lanes_more = unnamed;
    }

    fn lane(&mut self, name: &str) -> Option<&mut Lane> {
        if self.lanes.len() >= MAX_LANES && !self.lanes.contains_key(name) {
            return None;
        }
        Some(self.lanes.entry(name.to_owned()).or_default())
    }
}

impl Lane {
    /// A sidecar tells what it served again on each new stream.
    fn saw(&mut self, sighting: Sighting) {
        if self.sightings.iter().any(|it| it.serial == sighting.serial) {
            return;
        }
        let under = |it: &&Sighting| it.root == sighting.root;
        let is_full = self.sightings.iter().filter(under).count() >= MAX_SIGHTINGS
            || self.sightings.len() >= MAX_SIGHTINGS_IN_ALL;
        if is_full {
            self.sightings_more += 1;
        } else {
            self.sightings.push(sighting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate::Evidence;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn node() -> SpiffeId {
        SpiffeId::new("spiffe://example.org/node/a").unwrap()
    }

    fn to(root: &str) -> Succession {
        Succession {
            old_root: Some("old".to_owned()),
            new_root: root.to_owned(),
            bundle_version: "v2".to_owned(),
        }
    }

    fn consumer(name: &str, version: &str) -> Consumer {
        Consumer {
            name: name.to_owned(),
            evidence: Evidence::Acknowledged(version.to_owned()),
            connected: true,
            replica: None,
            credential_not_after: None,
        }
    }

    fn sighting(n: u8) -> Sighting {
        Sighting {
            at: at(i64::from(n)),
            id: SpiffeId::new("spiffe://example.org/web").unwrap(),
            serial: Serial::new(0x01_0000, u64::from(n), [n; 8]).unwrap(),
            root: "old".to_owned(),
        }
    }

    #[test]
    fn first_acknowledgement_is_what_is_remembered() {
        let rotation = Rotation::default();
        let waived = Waived::default();
        let look = |version, second| {
            rotation.watch(&to("new"), &[consumer("a", version)], &waived, at(second));
            rotation.newest().unwrap().lanes["a"].acknowledged_at
        };
        assert_eq!(look("v1", 1), None);
        assert_eq!(look("v2", 2), Some(at(2)));
        assert_eq!(look("v2", 3), Some(at(2)));
        rotation.activated("another", at(4));
        assert_eq!(rotation.newest().unwrap().activated_at, None);
        rotation.activated("new", at(5));
        rotation.activated("new", at(6));
        let course = rotation.newest().unwrap();
        assert_eq!((course.since, course.activated_at), (at(1), Some(at(5))));
    }

    #[test]
    fn next_rotation_replaces_the_course() {
        let rotation = Rotation::default();
        let all = [consumer("a", "v2")];
        rotation.watch(&to("new"), &all, &Waived::default(), at(1));
        rotation.watch(&to("newer"), &[], &Waived::default(), at(9));
        let course = rotation.newest().unwrap();
        assert_eq!((course.since, course.lanes.len()), (at(9), 0));
    }

    #[test]
    fn waived_consumers_are_told_apart() {
        let rotation = Rotation::default();
        let waived = Waived::new([("a".to_owned(), at(100))], None);
        rotation.watch(&to("new"), &[consumer("a", "v1")], &waived, at(1));
        assert!(rotation.newest().unwrap().lanes["a"].is_waived);
        rotation.watch(&to("new"), &[consumer("a", "v2")], &waived, at(2));
        assert!(!rotation.newest().unwrap().lanes["a"].is_waived);
    }

    #[test]
    fn a_serial_that_is_told_again_counts_once() {
        let rotation = Rotation::default();
        let own = [consumer(&super::super::consumers::proxy_of(&node()), "v1")];
        rotation.watch(&to("new"), &own, &Waived::default(), at(0));
        for _ in 0..3 {
            rotation.seen(&node(), sighting(1));
        }
        (2..40).for_each(|n| rotation.seen(&node(), sighting(n)));
        let of_new = Sighting {
            root: "new".to_owned(),
            ..sighting(50)
        };
        rotation.seen(&node(), of_new.clone());
        let course = rotation.newest().unwrap();
        let lane = course.lanes.values().next().unwrap();
        assert_eq!(lane.sightings.len(), MAX_SIGHTINGS + 1);
        assert_eq!(
            lane.sightings.last(),
            Some(&of_new),
            "the new root has its own room"
        );
    }

    #[test]
    fn what_comes_long_after_a_rotation_is_none_of_it() {
        let rotation = Rotation::default();
        let own = [consumer(&super::super::consumers::proxy_of(&node()), "v2")];
        rotation.watch(&to("new"), &own, &Waived::default(), at(0));
        rotation.activated("new", at(10));
        let failures = |second| {
            rotation.failed(&node(), 1, at(second));
            let course = rotation.newest().unwrap();
            course.lanes.values().next().unwrap().failures.len()
        };
        assert_eq!(failures(3_609), 1);
        assert_eq!(failures(3_610), 1);
    }

    #[test]
    fn bundle_that_changes_meanwhile_is_acknowledged() {
        let rotation = Rotation::default();
        rotation.watch(
            &to("new"),
            &[consumer("a", "v2")],
            &Waived::default(),
            at(1),
        );
        let changed = Succession {
            bundle_version: "v3".to_owned(),
            ..to("new")
        };
        let all = [consumer("a", "v3"), consumer("b", "v3")];
        rotation.watch(&changed, &all, &Waived::default(), at(2));
        let course = rotation.newest().unwrap();
        assert_eq!(course.lanes["a"].acknowledged_at, Some(at(1)));
        assert_eq!(course.lanes["b"].acknowledged_at, Some(at(2)));
        assert_eq!(course.succession.bundle_version, "v3");
    }

    #[test]
    fn what_a_rotation_remembers_is_bounded() {
        let rotation = Rotation::default();
        assert!(!rotation.is_watched());
        rotation.seen(&node(), sighting(0));
        assert_eq!(rotation.newest(), None, "nobody asked");

        let own = [consumer(&super::super::consumers::proxy_of(&node()), "v2")];
        rotation.watch(&to("new"), &own, &Waived::default(), at(1));
        for n in 0..40 {
            rotation.seen(&node(), sighting(n));
            rotation.failed(&node(), 2, at(i64::from(n)));
        }
        let course = rotation.newest().unwrap();
        let lane = course.lanes.values().next().unwrap();
        assert_eq!(
            (lane.sightings.len(), lane.sightings_more),
            (MAX_SIGHTINGS, 40 - MAX_SIGHTINGS as u64)
        );
        let failed: u64 = lane.failures.iter().map(|(_, count)| count).sum();
        assert_eq!((lane.failures.len(), failed), (MAX_FAILURES, 80));
        assert_eq!(lane.failures.last(), Some(&(at(39), 50)));

        let many = (0..MAX_LANES + 7).map(|n| consumer(&n.to_string(), "v2"));
        let many: Vec<_> = many.collect();
        rotation.watch(&to("new"), &many, &Waived::default(), at(1));
        let course = rotation.newest().unwrap();
        assert_eq!((course.lanes.len(), course.lanes_more), (MAX_LANES, 8));
    }
}
