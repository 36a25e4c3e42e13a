//! [`DeltaClient`] against [`DeltaSession`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{MAX_ROUNDS, NAMES, Step, change, is_bad, steps};
use crate::testing::{SECRET, World, nack};
use crate::{
    Change, DeltaClient, DeltaRequest, DeltaResponse, DeltaSession, Limits, Standing, View,
};

struct Run {
    world: World,
    /// Asks for everything instead of single names.
    wildcard: bool,
    client: DeltaClient,
    wanted: Vec<&'static str>,
    installed: BTreeMap<String, String>,
    session: DeltaSession,
    /// What the server must take for held, kept apart from the session.
    proven: BTreeMap<String, String>,
    unanswered: BTreeMap<String, DeltaResponse>,
    /// What may be installed although no answer proves it: a tombstone for it is no repetition.
    perhaps: BTreeSet<String>,
    requests: VecDeque<DeltaRequest>,
    responses: VecDeque<DeltaResponse>,
}

impl Run {
    fn new(wildcard: bool) -> Self {
        let mut run = Self {
            world: World::default(),
            wildcard,
            client: DeltaClient::new(),
            wanted: Vec::new(),
            installed: BTreeMap::new(),
            session: DeltaSession::new(limits()),
            proven: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            perhaps: BTreeSet::new(),
            requests: VecDeque::new(),
            responses: VecDeque::new(),
        };
        if wildcard {
            run.requests.extend(run.client.subscribe(SECRET, "*"));
        }
        run
    }

    fn step(&mut self, step: &Step) {
        change(&mut self.world, step);
        match *step {
            Step::Want(name) if !self.wildcard => self.want(NAMES[name]),
            Step::Leave(name) if !self.wildcard => self.leave(NAMES[name]),
            Step::Request => drop(self.request()),
            Step::Poll => drop(self.poll()),
            Step::Response => drop(self.response()),
            Step::Reconnect => self.reconnect(),
            _ => {}
        }
    }

    fn want(&mut self, name: &'static str) {
        if let Some(request) = self.client.subscribe(SECRET, name) {
            self.wanted.push(name);
            self.requests.push_back(request);
        }
    }

    fn leave(&mut self, name: &'static str) {
        self.wanted.retain(|wanted| *wanted != name);
        self.installed.remove(name);
        self.requests.extend(self.client.unsubscribe(SECRET, name));
    }

    fn reconnect(&mut self) {
        self.session = DeltaSession::new(limits());
        self.proven.clear();
        self.unanswered.clear();
        self.perhaps.clear();
        self.responses.clear();
        self.requests = self.client.reconnect().into();
    }

    fn request(&mut self) -> bool {
        let Some(request) = self.requests.pop_front() else {
            return false;
        };
        for name in request.subscribe.iter().chain(&request.unsubscribe) {
            if self.proven.remove(name).is_some() {
                self.perhaps.insert(name.clone());
            }
            // What was said before a name was asked for again proves nothing about it.
            for sent in self.unanswered.values_mut() {
                let before = sent.resources.len();
                sent.resources.retain(|resource| &*resource.name != name);
                if sent.resources.len() < before {
                    self.perhaps.insert(name.clone());
                }
                sent.removed.retain(|removed| removed != name);
            }
        }
        self.proven.extend(request.initial_versions.clone());
        let answered = self.unanswered.remove(&request.response_nonce);
        if let (Some(answered), None) = (answered, &request.nack) {
            for resource in &answered.resources {
                let (name, version) = (resource.name.to_string(), resource.version.to_string());
                self.proven.insert(name, version);
            }
            for name in &answered.removed {
                self.proven.remove(name);
            }
        }
        self.session.handle(&request, &self.world).unwrap();
        self.session.invariant_counters();
        true
    }

    fn poll(&mut self) -> bool {
        let polled = self.session.poll(&self.world);
        self.session.invariant_counters();
        let Some(response) = polled else {
            return false;
        };
        let names = response.resources.iter().map(|r| &*r.name);
        for name in names.chain(response.removed.iter().map(String::as_str)) {
            // An unanswered response may have to be taken back, by a version that is held.
            let is_open = |sent: &&DeltaResponse| {
                sent.resources.iter().any(|r| &*r.name == name)
                    || sent.removed.iter().any(|removed| removed == name)
            };
            let taken_back = self.unanswered.values().find(is_open).is_some();
            let perhaps = self.perhaps.remove(name);
            let news = match self.world.standing(SECRET, name) {
                Standing::Present(now) => self.proven.get(name).is_none_or(|v| **v != *now.version),
                Standing::Removed => perhaps || self.proven.contains_key(name),
                Standing::Absent => false,
            };
            assert!(news || taken_back, "{name} was resent");
        }
        self.unanswered
            .insert(response.nonce.clone(), response.clone());
        self.responses.push_back(response);
        true
    }

    fn response(&mut self) -> bool {
        let Some(response) = self.responses.pop_front() else {
            return false;
        };
        let received = self.client.handle(response).unwrap();
        let bad = |change: &Change| matches!(change, Change::Present(r) if is_bad(&r.version));
        let answer = if received.changes.iter().any(bad) {
            self.client.refuse(SECRET, &received.nonce, nack())
        } else {
            for change in &received.changes {
                match change {
                    Change::Present(resource) => {
                        let version = resource.version.to_string();
                        self.installed.insert(resource.name.to_string(), version);
                    }
                    Change::Removed { name, .. } => drop(self.installed.remove(name)),
                }
            }
            self.client.accept(&received)
        };
        self.requests.push_back(answer);
        true
    }

    /// Delivers everything until nobody has anything to say.
    fn rest(&mut self) {
        for _ in 0..MAX_ROUNDS {
            if !(self.request() | self.poll() | self.response()) {
                return;
            }
        }
        panic!("the run does not come to rest");
    }

    fn check(&self) {
        let wanted = if self.wildcard {
            &NAMES[..]
        } else {
            &self.wanted
        };
        for name in wanted {
            let installed = self.installed.get(*name).map(String::as_str);
            match self.world.standing(SECRET, name) {
                Standing::Present(now) if is_bad(&now.version) => {}
                Standing::Present(now) => assert_eq!(installed, Some(&*now.version), "{name}"),
                Standing::Removed => assert_eq!(installed, None, "{name}"),
                Standing::Absent => {}
            }
            assert_eq!(self.client.held(SECRET, name), installed);
            // The session may know less: an answer from before a name was asked for again does
            // not count. It never knows more.
            let acknowledged = self.session.acknowledged(SECRET, name);
            assert!(
                acknowledged.is_none() || acknowledged == installed,
                "{name}"
            );
        }
        assert!(!self.installed.values().any(|version| is_bad(version)));
    }
}

fn limits() -> Limits {
    Limits {
        unanswered: 3,
        ..Limits::default()
    }
}

proptest! {
    #[test]
    fn a_client_converges_on_the_view(steps in steps(), wildcard: bool) {
        let mut run = Run::new(wildcard);
        for step in &steps {
            run.step(step);
        }
        run.rest();
        run.check();
        run.reconnect();
        run.rest();
        run.check();
    }

    #[test]
    fn a_reconnect_after_rest_is_silent(steps in steps(), wildcard: bool) {
        let mut run = Run::new(wildcard);
        for step in steps.iter().filter(|step| !matches!(step, Step::Put(_, _, true))) {
            run.step(step);
        }
        run.rest();
        run.reconnect();
        while run.request() {}
        prop_assert!(!run.poll());
    }
}
