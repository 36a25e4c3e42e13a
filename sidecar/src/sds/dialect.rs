//! The two streaming dialects over one stream: only their messages differ.

use std::sync::Arc;

use countersign_discovery::{
    DeltaRequest, DeltaSession, Limits, Outcome, SessionError, StateRequest, StateSession,
};
use countersign_envoy::SECRET_TYPE;
use countersign_proto::codec::Message;
use countersign_proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};

use super::view::CallerView;

/// A session of `core/discovery` between its wire types.
pub(super) trait Dialect: Send + 'static {
    /// What the consumer sends.
    type Request: Message + Default + 'static;
    /// What it is sent.
    type Response: Message + 'static;

    fn handle(
        &mut self,
        request: Self::Request,
        view: &CallerView<'_>,
    ) -> Result<Vec<Outcome>, SessionError>;

    /// The next response out of what was touched.
    fn poll(&mut self, view: &CallerView<'_>) -> Option<Self::Response>;

    /// Says that a secret changed.
    fn touch(&mut self, name: &str);

    /// Whether a poll has something to look at, and may say it.
    fn is_touched(&self) -> bool;

    /// The names that the consumer asked for one by one.
    fn named(&self) -> impl Iterator<Item = &Arc<str>>;

    /// Whether it asked for all.
    fn wants_all(&self) -> bool;

    /// Whether the consumer asked for this name.
    fn wants(&self, name: &str) -> bool;

    /// What the names that it asked for weigh in memory.
    fn bytes(&self) -> usize;

    /// From now on other bounds hold.
    fn limit(&mut self, limits: Limits);

    /// The version of a secret that the consumer acknowledged last.
    fn acknowledged(&self, name: &str) -> Option<&str>;
}

/// A request without a type can only mean the one type of this service.
pub(super) fn with_default_type(type_url: &mut String) {
    if type_url.is_empty() {
        SECRET_TYPE.clone_into(type_url);
    }
}

impl Dialect for StateSession {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn handle(
        &mut self,
        request: DiscoveryRequest,
        view: &CallerView<'_>,
    ) -> Result<Vec<Outcome>, SessionError> {
        let mut request = StateRequest::from(request);
        with_default_type(&mut request.type_url);
        Self::handle(self, &request, view)
    }

    fn poll(&mut self, view: &CallerView<'_>) -> Option<DiscoveryResponse> {
        self.poll_touched(view).map(Into::into)
    }

    fn touch(&mut self, name: &str) {
        Self::touch(self, SECRET_TYPE, name);
    }

    fn is_touched(&self) -> bool {
        Self::is_touched(self)
    }

    fn named(&self) -> impl Iterator<Item = &Arc<str>> {
        Self::named(self, SECRET_TYPE)
    }

    fn wants_all(&self) -> bool {
        Self::wants_all(self, SECRET_TYPE)
    }

    fn wants(&self, name: &str) -> bool {
        Self::wants(self, SECRET_TYPE, name)
    }

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }

    fn limit(&mut self, limits: Limits) {
        Self::limit(self, limits);
    }

    fn acknowledged(&self, name: &str) -> Option<&str> {
        Self::acknowledged(self, SECRET_TYPE, name)
    }
}

impl Dialect for DeltaSession {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn handle(
        &mut self,
        request: DeltaDiscoveryRequest,
        view: &CallerView<'_>,
    ) -> Result<Vec<Outcome>, SessionError> {
        let mut request = DeltaRequest::from(request);
        with_default_type(&mut request.type_url);
        Self::handle(self, &request, view)
    }

    fn poll(&mut self, view: &CallerView<'_>) -> Option<DeltaDiscoveryResponse> {
        self.poll_touched(view).map(Into::into)
    }

    fn touch(&mut self, name: &str) {
        Self::touch(self, SECRET_TYPE, name);
    }

    fn is_touched(&self) -> bool {
        Self::is_touched(self)
    }

    fn named(&self) -> impl Iterator<Item = &Arc<str>> {
        Self::named(self, SECRET_TYPE)
    }

    fn wants_all(&self) -> bool {
        Self::wants_all(self, SECRET_TYPE)
    }

    fn wants(&self, name: &str) -> bool {
        Self::wants(self, SECRET_TYPE, name)
    }

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }

    fn limit(&mut self, limits: Limits) {
        Self::limit(self, limits);
    }

    fn acknowledged(&self, name: &str) -> Option<&str> {
        Self::acknowledged(self, SECRET_TYPE, name)
    }
}
