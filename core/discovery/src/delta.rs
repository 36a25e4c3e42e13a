//! The delta dialect, server side.

use std::collections::BTreeMap;

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
    limits: Limits,
}

impl DeltaSession {
    /// A session with no subscription.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Takes one request in. A stale nonce is no error and no acknowledgement.
    ///
    /// # Errors
    /// A request that ends the stream.
    pub fn handle(
        &mut self,
        request: &DeltaRequest,
        view: &impl View,
    ) -> Result<Vec<Outcome>, SessionError> {
        let _ = (self.limits, request, view);
        Ok(Vec::new())
    }

    /// The next response, if anything this consumer subscribes to differs from what it holds or
    /// was sent. Call after [`handle`](Self::handle) and after each change of the view until
    /// `None`; one response holds resources of one type.
    pub fn poll(&mut self, view: &impl View) -> Option<DeltaResponse> {
        let _ = view;
        None
    }

    /// The version that the consumer acknowledged last.
    pub fn acknowledged(&self, type_url: &str, name: &str) -> Option<&str> {
        let _ = (type_url, name);
        None
    }
}
