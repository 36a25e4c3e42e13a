//! The gates of several control planes, against a model that knows all.

use proptest::prelude::*;

use super::*;

/// What happens in a world of few nodes and control planes.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A node opens a stream, of the control plane that is named; it leaves the one before, or is not seen to.
    Connect(usize, usize, bool),
    /// Its stream ends.
    Leave(usize),
    /// Its sidecar takes the new bundle.
    Install(usize),
    /// An Envoy behind it begins, and is given what the sidecar has.
    Begin(usize),
    /// An Envoy behind it takes what the sidecar has.
    Follow(usize, usize),
    /// The stream of an Envoy ends; it goes on with what it has.
    Close(usize, usize),
    /// A control plane commits what is due by what it knows.
    Tell(usize),
    /// A control plane takes what the others committed.
    Learn(usize),
    /// A control plane starts again, without its streams.
    Restart(usize),
    /// A node has a new credential.
    Renew(usize),
    /// Seconds go by.
    Wait(i64),
}

const NODES: usize = 3;
const PLANES: usize = 3;
const LIFETIME: i64 = 60;

fn step() -> impl Strategy<Value = Step> {
    let (node, plane, envoy) = (|| 0..NODES, || 0..PLANES, || 0..3_usize);
    prop_oneof![
        4 => (node(), plane(), any::<bool>()).prop_map(|(n, p, seen)| Step::Connect(n, p, seen)),
        1 => node().prop_map(Step::Leave),
        3 => node().prop_map(Step::Install),
        2 => node().prop_map(Step::Begin),
        4 => (node(), envoy()).prop_map(|(n, e)| Step::Follow(n, e)),
        1 => (node(), envoy()).prop_map(|(n, e)| Step::Close(n, e)),
        5 => plane().prop_map(Step::Tell),
        4 => plane().prop_map(Step::Learn),
        1 => plane().prop_map(Step::Restart),
        1 => node().prop_map(Step::Renew),
        2 => (1_i64..40).prop_map(Step::Wait),
    ]
}

/// An Envoy, as it is.
#[derive(Clone)]
struct Real {
    has_new: bool,
    open: bool,
    /// What it holds ends then.
    end: i64,
}

/// A node, as it is.
struct Host {
    has_new: bool,
    envoys: Vec<Real>,
    end: i64,
    at: Option<usize>,
}

struct World {
    now: i64,
    planes: Vec<Alone>,
    /// Streams that the control planes take for open.
    seats: Vec<(usize, usize, Subscriber)>,
    hosts: Vec<Host>,
    /// Every row, in the order of commits.
    rows: Vec<(SpiffeId, Acknowledged)>,
    /// How many of them each control plane has taken.
    taken: [usize; PLANES],
}

impl World {
    fn new() -> Self {
        let host = |_| Host {
            has_new: false,
            envoys: Vec::new(),
            end: LIFETIME,
            at: None,
        };
        Self {
            now: 0,
            planes: ["a", "b", "c"].map(Alone::new).into(),
            seats: Vec::new(),
            hosts: (0..NODES).map(host).collect(),
            rows: Vec::new(),
            taken: [0; PLANES],
        }
    }

    fn records(&self) -> Vec<NodeRecord> {
        let hosts = self.hosts.iter().enumerate();
        hosts.map(|(n, host)| record(n, host.end)).collect()
    }

    /// A sidecar says all of it on its stream, the consumers before its own acknowledgement.
    fn report(&self, n: usize) {
        let host = &self.hosts[n];
        let Some(plane) = host.at.map(|at| &self.planes[at]) else {
            return;
        };
        let version = |has_new| if has_new { NEW } else { "old" };
        let envoys = host
            .envoys
            .iter()
            .enumerate()
            .map(|(e, it)| envoy(&e.to_string(), version(it.has_new), it.open, Some(it.end)));
        plane.fleet.reported(&node(n), envoys.collect());
        plane
            .fleet
            .bundle_acknowledged(&node(n), version(host.has_new), at(self.now));
    }

    fn leave(&mut self, n: usize, at_plane: usize) {
        self.seats
            .retain(|(host, plane, _)| (*host, *plane) != (n, at_plane));
        self.planes[at_plane].fleet.left(&node(n), at(self.now));
    }

    fn connect(&mut self, n: usize, p: usize, is_seen_to_leave: bool) {
        // Without a credential there is no stream.
        if self.hosts[n].end < self.now {
            self.hosts[n].end = self.now + LIFETIME;
        }
        if let Some(before) = self.hosts[n].at.filter(|_| is_seen_to_leave) {
            self.leave(n, before);
        }
        self.seats
            .retain(|(host, plane, _)| (*host, *plane) != (n, p));
        let seat = self.planes[p].hub.join(&node(n));
        self.planes[p].fleet.joined(&node(n), at(self.now));
        self.seats.push((n, p, seat));
        self.hosts[n].at = Some(p);
        self.report(n);
    }

    fn tell(&mut self, p: usize) {
        let due = self.planes[p].due(&self.records(), |id| self.row(p, id), self.now);
        assert!(due.iter().all(|(id, row)| row.is_of(id)));
        self.rows.extend(due);
        self.learn(p);
    }

    fn learn(&mut self, p: usize) {
        self.taken[p] = self.rows.len();
    }

    /// The newest row of a node that a control plane knows.
    fn row(&self, p: usize, id: &SpiffeId) -> Option<Acknowledged> {
        let mut known = self.rows[..self.taken[p]].iter().rev();
        Some(known.find(|(of, _)| of == id)?.1.clone())
    }

    fn take(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Connect(n, p, is_seen) => self.connect(n, p, is_seen),
            Step::Leave(n) => {
                if let Some(at) = self.hosts[n].at.take() {
                    self.leave(n, at);
                }
            }
            Step::Install(n) => {
                // What a sidecar has comes by its stream.
                self.hosts[n].has_new |= self.hosts[n].at.is_some();
                self.report(n);
            }
            Step::Begin(n) => {
                let host = &mut self.hosts[n];
                if host.envoys.len() < 3 && host.end >= now {
                    let (has_new, end) = (host.has_new, host.end);
                    host.envoys.push(Real {
                        has_new,
                        open: true,
                        end,
                    });
                }
                self.report(n);
            }
            Step::Follow(n, e) => {
                let host = &mut self.hosts[n];
                let (has_new, end) = (host.has_new, host.end);
                if let Some(it) = host.envoys.get_mut(e).filter(|it| it.open) {
                    (it.has_new, it.end) = (has_new, end);
                }
                self.report(n);
            }
            Step::Close(n, e) => {
                if let Some(it) = self.hosts[n].envoys.get_mut(e) {
                    it.open = false;
                }
                self.report(n);
            }
            Step::Tell(p) => self.tell(p),
            Step::Learn(p) => self.learn(p),
            Step::Restart(p) => {
                self.seats.retain(|(_, plane, _)| *plane != p);
                self.planes[p] = Alone::new(self.planes[p].name);
                for host in &mut self.hosts {
                    host.at = host.at.filter(|at| *at != p);
                }
            }
            Step::Renew(n) => {
                if self.hosts[n].at.is_some() {
                    self.hosts[n].end = now + LIFETIME;
                }
            }
            Step::Wait(seconds) => {
                self.now += seconds;
                // A stream ends with the credential of its node.
                for n in 0..NODES {
                    if self.hosts[n].end < self.now {
                        self.hosts[n].at = None;
                        (0..PLANES).for_each(|p| self.leave(n, p));
                    }
                }
            }
        }
    }

    /// Whom a gate that knows all would wait for.
    fn lacks(&self, host: &Host) -> bool {
        let is_live = host.end >= self.now;
        let of_envoy = |it: &Real| !it.has_new && it.end >= self.now;
        is_live && (!host.has_new || host.envoys.iter().any(of_envoy))
    }

    /// Whom the gate of a control plane waits for.
    fn waiting(&self, p: usize) -> Vec<String> {
        let plane = &self.planes[p];
        let elsewhere = |id: &SpiffeId| self.row(p, id).filter(|row| row.replica != plane.name);
        let seen = Consumers::take(&self.records(), (&plane.hub, &plane.fleet), elsewhere);
        seen.waiting_for(NEW, &Waived::default(), at(self.now))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// An independent reading of the rule, for every control plane, after every step.
    #[test]
    fn a_root_signs_nothing_before_every_live_consumer_of_every_replica_acknowledged_it(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            for p in 0..PLANES {
                if world.waiting(p).is_empty() {
                    let lacking = world.hosts.iter().position(|it| world.lacks(it));
                    prop_assert_eq!(lacking, None, "after {:?} at {}", step, p);
                }
            }
        }
    }

    /// And it opens: once everybody has the bundle, is connected to whichever, and was told of.
    #[test]
    fn gate_opens_at_every_replica_once_everybody_has_the_bundle(
        steps in proptest::collection::vec(step(), 1..60), places in [0..PLANES, 0..PLANES, 0..PLANES],
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        for (n, place) in places.into_iter().enumerate() {
            (0..PLANES).for_each(|p| world.leave(n, p));
            world.hosts[n].at = None;
            world.connect(n, place, true);
            world.hosts[n].has_new = true;
            for it in &mut world.hosts[n].envoys {
                (it.has_new, it.open) = (true, true);
            }
            world.report(n);
        }
        // What was committed without a look at a newer row is mended by the next one.
        for _ in 0..2 {
            (0..PLANES).for_each(|p| world.learn(p));
            (0..PLANES).for_each(|p| world.tell(p));
        }
        (0..PLANES).for_each(|p| world.learn(p));
        for p in 0..PLANES {
            prop_assert_eq!(world.waiting(p), [""; 0]);
        }
    }
}
