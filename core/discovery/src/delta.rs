//! The delta dialect, server side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::server::{Response, Server};
use crate::topic::{Filling, WILDCARD};
use crate::{Limits, Nack, Outcome, Resource, SessionError, View};

/// One delta request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeltaRequest {
    /// Type URL it is about.
    pub type_url: String,
    /// Names to add; `*` is every name of the type.
    pub subscribe: Vec<String>,
    /// Names to drop.
    pub unsubscribe: Vec<String>,
    /// What the consumer holds already: name → version. Only on the first request of a type.
    pub initial_versions: BTreeMap<String, String>,
    /// The response that this answers; empty for a spontaneous request.
    pub response_nonce: String,
    /// Set when that response was refused.
    pub nack: Option<Nack>,
}

/// One delta response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaResponse {
    /// Type URL of its resources.
    pub type_url: String,
    /// The stamp of the view it was made from.
    pub system_version: String,
    /// Unique within the stream.
    pub nonce: String,
    /// What is new or changed.
    pub resources: Vec<Resource>,
    /// What was taken away.
    pub removed: Vec<String>,
}

/// One consumer's stream in the delta dialect.
#[derive(Debug)]
pub struct DeltaSession {
    server: Server,
}

impl DeltaSession {
    /// A session with no subscription.
    pub fn new(limits: Limits) -> Self {
        Self {
            server: Server::new(limits),
        }
    }

    /// Takes one request in. A stale nonce is no error and no acknowledgement. An empty list of
    /// names asks for nothing; a name that is asked for again is sent again.
    ///
    /// What the consumer says that it holds counts as [`Outcome::Acknowledged`]: after a restart
    /// of the server nothing else would tell it how far the consumer has come.
    ///
    /// # Errors
    /// A request that ends the stream; it has changed nothing.
    pub fn handle(
        &mut self,
        request: &DeltaRequest,
        view: &impl View,
    ) -> Result<Vec<Outcome>, SessionError> {
        let type_url = request.type_url.as_str();
        let dropped = request.unsubscribe.iter().map(String::as_str).collect();
        let named: BTreeSet<_> = request.subscribe.iter().map(String::as_str).collect();
        let mut added = named.clone();
        if named.contains(WILDCARD) {
            // What it says it holds counts against the bound of names as well.
            added.extend(request.initial_versions.keys().map(String::as_str));
        }
        self.server.admit(type_url, &added, &dropped, view)?;

        let nack = request.nack.as_ref();
        let mut outcomes = self.server.answer(type_url, &request.response_nonce, nack);
        for name in &dropped {
            outcomes.extend(self.server.unsubscribe(type_url, name));
        }
        let by_name = named.iter().copied().filter(|name| *name != WILDCARD);
        for name in by_name.filter(|name| view.is_possible(type_url, name)) {
            let held = request.initial_versions.get(name).map(String::as_str);
            outcomes.extend(self.server.subscribe(type_url, name, held));
        }
        if named.contains(WILDCARD) {
            let held = &request.initial_versions;
            outcomes.extend(self.server.subscribe_all(type_url, held, view));
        }
        Ok(outcomes)
    }

    /// The next response, if anything this consumer subscribes to differs from what it holds or
    /// was sent. Call after [`handle`](Self::handle) and after each change of the view until
    /// `None`; one response holds resources of one type.
    ///
    /// Always right, and looks at every subscription once before it says `None`. On a stream with
    /// many names prefer [`touch`](Self::touch) and [`poll_touched`](Self::poll_touched).
    pub fn poll(&mut self, view: &impl View) -> Option<DeltaResponse> {
        let response = self.server.poll(FILLING, view)?;
        Some(word(response, view))
    }

    /// Says that a name changed, for [`poll_touched`](Self::poll_touched).
    pub fn touch(&mut self, type_url: &str, name: &str) {
        self.server.touch(type_url, name);
    }

    /// Whether [`poll_touched`](Self::poll_touched) has something to look at, and may say it.
    pub fn is_touched(&self) -> bool {
        self.server.is_touched(FILLING)
    }

    /// Whether the consumer asked for this name, by itself or with all.
    pub fn wants(&self, type_url: &str, name: &str) -> bool {
        self.server.wants(type_url, name)
    }

    /// Whether the consumer asked for all names of a type.
    pub fn wants_all(&self, type_url: &str) -> bool {
        self.server.wants_all(type_url)
    }

    /// The names of a type that the consumer asked for one by one.
    pub fn named(&self, type_url: &str) -> impl Iterator<Item = &Arc<str>> {
        self.server.named(type_url)
    }

    #[cfg(test)]
    pub(crate) fn invariant_counters(&self) {
        self.server.invariant_counters();
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.server.remembered()
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
    /// named since: the cost follows the change. The caller must touch every name that changed.
    pub fn poll_touched(&mut self, view: &impl View) -> Option<DeltaResponse> {
        let response = self.server.poll_touched(FILLING, view)?;
        Some(word(response, view))
    }

    /// The version that the consumer acknowledged last, or said it held when it connected.
    pub fn acknowledged(&self, type_url: &str, name: &str) -> Option<&str> {
        self.server.acknowledged(type_url, name)
    }
}

fn word(response: Response, view: &impl View) -> DeltaResponse {
    let removed = response.batch.removed.iter();
    DeltaResponse {
        type_url: response.type_url,
        system_version: view.stamp().to_string(),
        nonce: response.nonce,
        removed: removed.map(ToString::to_string).collect(),
        resources: response.batch.resources,
    }
}

const FILLING: Filling = Filling {
    resources: MAX_RESPONSE_RESOURCES,
    pipelined: true,
    removals: true,
};

/// Most resources in one delta response.
pub const MAX_RESPONSE_RESOURCES: usize = 1_024;

#[cfg(test)]
mod tests;
