//! A view to test against, and the moves that every session test makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::{
    DeltaRequest, DeltaResponse, DeltaSession, Nack, NackReason, Resource, Stamp, Standing,
    StateRequest, StateResponse, StateSession, View,
};

pub(crate) const SECRET: &str = "secret";
pub(crate) const ENTITLEMENT: &str = "entitlement";

/// A view whose every change raises its sequence.
#[derive(Debug, Default)]
pub(crate) struct World {
    standings: BTreeMap<(String, String), Standing>,
    pub(crate) stamp: Stamp,
    pub(crate) looks: std::cell::Cell<usize>,
}

impl World {
    pub(crate) fn put(&mut self, name: &str, version: &str) {
        self.put_typed(SECRET, name, version);
    }

    pub(crate) fn put_typed(&mut self, type_url: &str, name: &str, version: &str) {
        let body = Bytes::from(format!("{name} at {version}"));
        let resource = Resource::versioned(type_url, name, version, body);
        self.set(type_url, name, Standing::Present(resource));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.set(SECRET, name, Standing::Removed);
    }

    pub(crate) fn vanish(&mut self, name: &str) {
        self.set(SECRET, name, Standing::Absent);
    }

    fn set(&mut self, type_url: &str, name: &str, standing: Standing) {
        self.stamp.sequence += 1;
        self.standings
            .insert((type_url.into(), name.into()), standing);
    }
}

impl View for World {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn standing(&self, type_url: &str, name: &str) -> Standing {
        self.looks.set(self.looks.get() + 1);
        let key = (type_url.to_owned(), name.to_owned());
        self.standings
            .get(&key)
            .cloned()
            .unwrap_or(Standing::Absent)
    }

    fn names(&self, type_url: &str) -> Vec<Arc<str>> {
        let known = self.standings.iter();
        known
            .filter(|((of, _), standing)| of == type_url && **standing != Standing::Absent)
            .map(|((_, name), _)| name.as_str().into())
            .collect()
    }

    fn serves(&self, type_url: &str) -> bool {
        [SECRET, ENTITLEMENT].contains(&type_url)
    }

    fn is_possible(&self, _: &str, name: &str) -> bool {
        self.looks.set(self.looks.get() + 1);
        !name.starts_with(IMPOSSIBLE)
    }
}

/// Begins names that nothing can ever be of.
pub(crate) const IMPOSSIBLE: &str = "impossible";

pub(crate) fn nack() -> Nack {
    Nack::new(NackReason::Chain, "it does not verify")
}

/// A delta request for secrets.
pub(crate) fn subscribe(names: &[&str]) -> DeltaRequest {
    DeltaRequest {
        type_url: SECRET.into(),
        subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaRequest::default()
    }
}

pub(crate) fn ack(response: &DeltaResponse) -> DeltaRequest {
    DeltaRequest {
        type_url: response.type_url.clone(),
        response_nonce: response.nonce.clone(),
        ..DeltaRequest::default()
    }
}

pub(crate) fn refusal(response: &DeltaResponse) -> DeltaRequest {
    DeltaRequest {
        nack: Some(nack()),
        ..ack(response)
    }
}

/// All responses until there is nothing to say, without an answer to any.
pub(crate) fn drain(session: &mut DeltaSession, view: &World) -> Vec<DeltaResponse> {
    std::iter::from_fn(|| session.poll(view)).collect()
}

/// Name and version of each resource in a response.
pub(crate) fn contents(resources: &[Resource]) -> Vec<(&str, &str)> {
    resources.iter().map(|r| (&*r.name, &*r.version)).collect()
}

/// A state-of-the-world request for secrets.
pub(crate) fn ask(names: &[&str], version_info: &str, nonce: &str) -> StateRequest {
    StateRequest {
        type_url: SECRET.into(),
        version_info: version_info.into(),
        names: names.iter().map(ToString::to_string).collect(),
        response_nonce: nonce.into(),
        nack: None,
    }
}

/// Polls and acknowledges until there is nothing to say.
pub(crate) fn settle(
    session: &mut StateSession,
    names: &[&str],
    view: &World,
) -> Vec<StateResponse> {
    let mut responses = Vec::new();
    while let Some(response) = session.poll(view) {
        let request = ask(names, &response.version_info, &response.nonce);
        session.handle(&request, view).unwrap();
        responses.push(response);
        assert!(responses.len() < 1_000, "a hot loop");
    }
    responses
}
