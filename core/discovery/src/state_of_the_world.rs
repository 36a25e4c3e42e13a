//! The state-of-the-world dialect, server side.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::server::{Response, Server};
use crate::topic::Filling;
use crate::{Limits, Nack, Outcome, Resource, SessionError, View};

/// One state-of-the-world request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateRequest {
    /// Type URL it is about.
    pub type_url: String,
    /// The version the consumer accepted last.
    pub version_info: String,
    /// The whole list of names it wants, in any order.
    pub names: Vec<String>,
    /// The response that this answers; empty at first.
    pub response_nonce: String,
    /// Set when that response was refused.
    pub nack: Option<Nack>,
}

/// One state-of-the-world response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateResponse {
    /// Type URL of its resources.
    pub type_url: String,
    /// The version of the resource in it, which is derived from content: what an operator reads
    /// in Envoy's `version_text`, and what a consumer of one name proves on reconnect.
    pub version_info: String,
    /// Unique within the stream.
    pub nonce: String,
    /// What is new or changed: Envoy keeps the others.
    pub resources: Vec<Resource>,
}

/// One consumer's stream in the state-of-the-world dialect.
#[derive(Debug)]
pub struct StateSession {
    server: Server,
    /// The list that each type was asked for last, as a hash: an ACK says it again.
    lists: BTreeMap<String, u64>,
    hasher: RandomState,
}

impl StateSession {
    /// A session with no subscription.
    pub fn new(limits: Limits) -> Self {
        Self {
            server: Server::new(limits),
            lists: BTreeMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// Takes one request in. A stale or empty nonce is no error; its list of names counts all the
    /// same, since requests arrive in order.
    ///
    /// # Errors
    /// A request that ends the stream; it has changed nothing.
    pub fn handle(
        &mut self,
        request: &StateRequest,
        view: &impl View,
    ) -> Result<Vec<Outcome>, SessionError> {
        let type_url = request.type_url.as_str();
        let nack = request.nack.as_ref();
        let list = self.hasher.hash_one(&request.names);
        if self.lists.get(type_url) == Some(&list) {
            return Ok(self.server.answer(type_url, &request.response_nonce, nack));
        }
        let wanted: BTreeSet<&str> = request.names.iter().map(String::as_str).collect();
        let beside = self.server.named_beside(type_url, &wanted);
        let dropped: BTreeSet<&str> = beside.iter().map(AsRef::as_ref).collect();
        self.server.admit(type_url, &wanted, &dropped, view)?;

        let mut outcomes = self.server.answer(type_url, &request.response_nonce, nack);
        for name in &dropped {
            outcomes.extend(self.server.unsubscribe(type_url, name));
        }
        let held = self.proof(request, &wanted);
        self.server.topic(type_url);
        let is_new = |name: &&&str| {
            !self.server.is_named(type_url, name) && view.is_possible(type_url, name)
        };
        let added: Vec<&str> = wanted.iter().filter(is_new).copied().collect();
        for name in added {
            outcomes.extend(self.server.subscribe(type_url, name, held));
        }
        self.lists.insert(type_url.to_owned(), list);
        Ok(outcomes)
    }

    /// What `version_info` proves. On the first request for one name it is the version of that
    /// name, so a consumer that reconnects with unchanged content hears nothing. With several
    /// names it is the version of whichever came last; what else the consumer holds it does not
    /// say, so everything is sent again.
    fn proof<'a>(&self, request: &'a StateRequest, wanted: &BTreeSet<&str>) -> Option<&'a str> {
        let first = !self.server.knows(&request.type_url);
        (first && wanted.len() == 1).then_some(request.version_info.as_str())
    }

    /// The next response, one changed resource at a time (one bad secret must not refuse the
    /// good ones beside it), or `None`. Call after [`handle`](Self::handle) and after each change
    /// of the view until `None`.
    ///
    /// Always right, and looks at every subscription once before it says `None`. On a stream with
    /// many names prefer [`touch`](Self::touch) and [`poll_touched`](Self::poll_touched).
    pub fn poll(&mut self, view: &impl View) -> Option<StateResponse> {
        self.server.poll(FILLING, view).and_then(word)
    }

    /// Says that a name changed, for [`poll_touched`](Self::poll_touched).
    pub fn touch(&mut self, type_url: &str, name: &str) {
        self.server.touch(type_url, name);
    }

    /// Whether [`poll_touched`](Self::poll_touched) has something to look at, and may say it.
    pub fn is_touched(&self) -> bool {
        self.server.is_touched(FILLING)
    }

    /// Whether the consumer asked for this name.
    pub fn wants(&self, type_url: &str, name: &str) -> bool {
        self.server.wants(type_url, name)
    }

    /// The names of a type that the consumer asked for one by one.
    pub fn named(&self, type_url: &str) -> impl Iterator<Item = &Arc<str>> {
        self.server.named(type_url)
    }

    /// Whether the consumer asked for all names of a type.
    pub fn wants_all(&self, type_url: &str) -> bool {
        self.server.wants_all(type_url)
    }

    #[cfg(test)]
    pub(crate) fn invariant_counters(&self) {
        self.server.invariant_counters();
    }

    /// From now on other bounds hold; what is there stays.
    pub fn limit(&mut self, limits: Limits) {
        self.server.limit(limits);
    }

    /// What the names of this stream weigh in memory.
    pub fn bytes(&self) -> usize {
        self.server.bytes()
    }

    /// As [`poll`](Self::poll), but looks only at names that a request or [`touch`](Self::touch)
    /// named since. The caller must touch every name that changed.
    pub fn poll_touched(&mut self, view: &impl View) -> Option<StateResponse> {
        self.server.poll_touched(FILLING, view).and_then(word)
    }

    /// The version of the named resource that the consumer acknowledged last, or proved to hold
    /// when it connected.
    pub fn acknowledged(&self, type_url: &str, name: &str) -> Option<&str> {
        self.server.acknowledged(type_url, name)
    }
}

fn word(response: Response) -> Option<StateResponse> {
    let version_info = response.batch.resources.first()?.version.to_string();
    Some(StateResponse {
        type_url: response.type_url,
        version_info,
        nonce: response.nonce,
        resources: response.batch.resources,
    })
}

/// One resource a response, and one response a type until it is answered: a consumer may answer
/// two with one request, and then only one of them would be known to be installed. A removal cannot
/// be said in this dialect: the consumer keeps what it has until the credential ends.
const FILLING: Filling = Filling {
    resources: 1,
    pipelined: false,
    removals: false,
};

#[cfg(test)]
mod tests;
