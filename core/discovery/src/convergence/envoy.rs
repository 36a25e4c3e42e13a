//! A model of Envoy's state-of-the-world stream against [`StateSession`]: names in any order, one
//! version for all of them, a refusal names the version accepted last. Either one secret for the
//! life of the stream, as Envoy's SDS does, or a changing list of several.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::{MAX_ROUNDS, NAMES, Step, change, is_bad, steps};
use crate::testing::{SECRET, World, nack};
use crate::{Limits, Standing, StateRequest, StateResponse, StateSession, View};

struct Envoy {
    world: World,
    wanted: Vec<&'static str>,
    installed: BTreeMap<String, String>,
    version_info: String,
    nonce: String,
    session: StateSession,
    requests: VecDeque<StateRequest>,
    responses: VecDeque<StateResponse>,
}

impl Envoy {
    fn new(wanted: &[&'static str]) -> Self {
        let mut envoy = Self {
            world: World::default(),
            wanted: wanted.to_vec(),
            installed: BTreeMap::new(),
            version_info: String::new(),
            nonce: String::new(),
            session: StateSession::new(Limits::default()),
            requests: VecDeque::new(),
            responses: VecDeque::new(),
        };
        envoy.say(None);
        envoy
    }

    fn say(&mut self, nack: Option<crate::Nack>) {
        let names = self.wanted.iter().rev();
        self.requests.push_back(StateRequest {
            type_url: SECRET.into(),
            version_info: self.version_info.clone(),
            names: names.map(ToString::to_string).collect(),
            response_nonce: self.nonce.clone(),
            nack,
        });
    }

    fn step(&mut self, step: &Step, several: bool) {
        change(&mut self.world, step);
        match *step {
            Step::Want(name) if several && !self.wanted.contains(&NAMES[name]) => {
                self.wanted.push(NAMES[name]);
                self.say(None);
            }
            Step::Leave(name) if several && self.wanted.contains(&NAMES[name]) => {
                self.wanted.retain(|wanted| *wanted != NAMES[name]);
                self.installed.remove(NAMES[name]);
                self.say(None);
            }
            Step::Request => drop(self.request()),
            Step::Poll => drop(self.poll()),
            Step::Response => drop(self.response()),
            Step::Reconnect => self.reconnect(),
            _ => {}
        }
    }

    fn reconnect(&mut self) {
        self.session = StateSession::new(Limits::default());
        self.requests.clear();
        self.responses.clear();
        self.nonce.clear();
        self.say(None);
    }

    fn request(&mut self) -> bool {
        let request = self.requests.pop_front();
        let handled = request.map(|request| self.session.handle(&request, &self.world));
        self.session.invariant_counters();
        handled
            .inspect(|outcome| assert!(outcome.is_ok()))
            .is_some()
    }

    fn poll(&mut self) -> bool {
        let Some(response) = self.session.poll(&self.world) else {
            return false;
        };
        let [resource] = response.resources.as_slice() else {
            panic!("one secret a response: {response:?}");
        };
        let held = self.session.acknowledged(SECRET, &resource.name);
        assert_ne!(held, Some(&*resource.version), "resent");
        self.responses.push_back(response);
        true
    }

    fn response(&mut self) -> bool {
        let Some(response) = self.responses.pop_front() else {
            return false;
        };
        self.nonce = response.nonce;
        let resource = &response.resources[0];
        let asked = self.wanted.contains(&&*resource.name);
        if asked && is_bad(&resource.version) {
            self.say(Some(nack()));
            return true;
        }
        if asked {
            let version = resource.version.to_string();
            self.installed.insert(resource.name.to_string(), version);
        }
        self.version_info = response.version_info;
        self.say(None);
        true
    }

    fn rest(&mut self) {
        for _ in 0..MAX_ROUNDS {
            if !(self.request() | self.poll() | self.response()) {
                return;
            }
        }
        panic!("the run does not come to rest");
    }

    fn check(&self) {
        for name in &self.wanted {
            if let Standing::Present(now) = self.world.standing(SECRET, name)
                && !is_bad(&now.version)
            {
                let installed = self.installed.get(*name).map(String::as_str);
                assert_eq!(installed, Some(&*now.version), "{name}");
            }
        }
        assert!(!self.installed.values().any(|version| is_bad(version)));
    }
}

/// A name that is never given up, so that a list of several stays one.
const ANCHOR: &str = "anchor";

proptest! {
    #[test]
    fn an_envoy_converges_on_the_view(steps in steps(), several: bool) {
        let mut envoy = Envoy::new(if several { &[NAMES[0], ANCHOR] } else { &NAMES[..1] });
        for step in &steps {
            envoy.step(step, several);
        }
        envoy.rest();
        envoy.check();
        envoy.reconnect();
        envoy.rest();
        envoy.check();
    }

    #[test]
    fn a_reconnect_of_one_secret_is_silent(steps in steps()) {
        let mut envoy = Envoy::new(&NAMES[..1]);
        for step in steps.iter().filter(|step| !matches!(step, Step::Put(_, _, true))) {
            envoy.step(step, false);
        }
        envoy.rest();
        envoy.reconnect();
        while envoy.request() {}
        prop_assert!(!envoy.poll());
    }
}
