//! The state-of-the-world dialect, server side.

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
    /// Hash over what the consumer holds once it has installed this.
    pub version_info: String,
    /// Unique within the stream.
    pub nonce: String,
    /// What is new or changed: Envoy keeps the others.
    pub resources: Vec<Resource>,
}

/// One consumer's stream in the state-of-the-world dialect.
#[derive(Debug)]
pub struct StateSession {
    limits: Limits,
}

impl StateSession {
    /// A session with no subscription.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Takes one request in. A stale or empty nonce is no error.
    ///
    /// # Errors
    /// A request that ends the stream.
    pub fn handle(
        &mut self,
        request: &StateRequest,
        view: &impl View,
    ) -> Result<Vec<Outcome>, SessionError> {
        let _ = (self.limits, request, view);
        Ok(Vec::new())
    }

    /// The next response, one changed resource at a time (one bad secret must not refuse the
    /// good ones beside it), or `None`.
    pub fn poll(&mut self, view: &impl View) -> Option<StateResponse> {
        let _ = view;
        None
    }

    /// The version of the named resource that the consumer acknowledged last.
    pub fn acknowledged(&self, type_url: &str, name: &str) -> Option<&str> {
        let _ = (type_url, name);
        None
    }
}
