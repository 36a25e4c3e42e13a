//! Envoy's Secret Discovery Service v3 on the local socket: state of the world, delta and unary.
//!
//! Names: `default` and `spiffe://<id>` are certificates with their keys; `ROOTCA` and
//! `spiffe://<trust domain>` a plain `trusted_ca`; `ALL` Envoy's SPIFFE validator. A caller gets
//! what its attested selectors admit and nothing else: node id, cluster and metadata of a request
//! are not even decoded. A name that cannot be given is absent, alone.

mod dialect;
mod metrics;
mod secrets;
mod stream;
#[cfg(test)]
mod tests;
mod view;

use std::pin::Pin;
use std::sync::Arc;

use countersign_discovery::{
    DeltaSession, Limits, SessionError, StateRequest, StateSession, fetch,
};
use countersign_proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use countersign_proto::sds::secret_discovery_service_server::SecretDiscoveryService;
use futures_util::Stream;
use tonic::{Request, Response, Status, Streaming};

pub use metrics::Metrics;
pub use secrets::Secrets;

use crate::local_api::LocalApi;
use dialect::{Dialect, with_default_type};
use stream::{Given, SecretStream};
use view::CallerView;

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
#[derive(Clone, Debug)]
pub struct SecretDiscovery {
    api: Arc<LocalApi>,
}

impl SecretDiscovery {
    /// A service over what the local socket shares.
    pub fn new(api: Arc<LocalApi>) -> Self {
        Self { api }
    }

    fn open<D: Dialect>(
        &self,
        request: Request<Streaming<D::Request>>,
        dialect: D,
    ) -> Result<Response<Responses<D::Response>>, Status> {
        let snapshot = self.api.holdings.load();
        let caller = self.api.attest(&request, &snapshot)?;
        let permit = self.api.admit_stream(&caller)?;
        let stream = SecretStream::new(
            self.api.clone(),
            caller,
            permit,
            request.into_inner(),
            dialect,
        );
        Ok(Response::new(Box::pin(stream.into_responses())))
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for SecretDiscovery {
    type StreamSecretsStream = Responses<DiscoveryResponse>;
    type DeltaSecretsStream = Responses<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        self.open(request, StateSession::new(Limits::default()))
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        self.open(request, DeltaSession::new(Limits::default()))
    }

    /// Answers with what is there now. A name that is not held yet is enrolled, and there the
    /// next time.
    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let snapshot = self.api.holdings.load();
        let caller = self.api.attest(&request, &snapshot)?;
        let mut request: StateRequest = request.into_inner().into();
        with_default_type(&mut request.type_url);
        let given = Given::new();
        let view = CallerView::new(&self.api, &snapshot, &caller, &given);
        let response = fetch(&request, Limits::default(), &view).map_err(|e| refuse(&e))?;
        self.api
            .demand(request.names.iter().filter_map(|name| view.missing(name)));
        for resource in &response.resources {
            stream::connect(&self.api, &caller, &view, &resource.name)?
                .delivered(&resource.version);
        }
        Ok(Response::new(response.into()))
    }
}

/// The status of a request that ends its stream.
fn refuse(error: &SessionError) -> Status {
    Status::invalid_argument(error.to_string())
}
