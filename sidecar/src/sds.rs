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

use std::sync::Arc;

use countersign_discovery::{
    DeltaSession, Limits, SessionError, StateRequest, StateSession, fetch,
};
use countersign_proto::codec::{Codec, framed};
use countersign_proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use countersign_proto::sds::secret_discovery_service_server::SecretDiscoveryService;
use countersign_serve::messages::{Fields, Messages, Unsaid, encoded};
use countersign_telemetry::{Principal, peer_line};
use prometheus_client::registry::Registry;
use tonic::codec::Codec as _;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use metrics::SdsMetrics;
pub(crate) use secrets::Secrets;

use crate::local_api::{LocalApi, local_caller};
use dialect::{Dialect, with_default_type};
use stream::{Given, SecretStream, StreamCost};
use view::CallerView;

/// Longest request, without the node that an Envoy repeats in each: some thousands of names.
pub(crate) const MAX_REQUEST_BYTES: usize = 1024 * 1024;
/// Most fields of a request: a delta request that resumes says each name twice.
const MAX_REQUEST_FIELDS: usize = 2 * LIMITS.names + 64;
/// What one stream may ask for: four Envoys of a thousand secrets each on one stream, if there were
/// such a thing.
const LIMITS: Limits = Limits {
    names: 4_096,
    name_bytes: 2_304,
    bytes: 16 * 1024 * 1024,
    unanswered: 64,
};

/// The same for a caller that has no identity: what an Envoy asks for that waits for its registration.
/// One that has more on one stream is refused, and asks again until it is registered.
const LIMITS_WITHOUT_IDENTITY: Limits = Limits {
    names: 128,
    ..LIMITS
};

/// The fields of a request that are read, by the path of its call.
pub(crate) fn fields(path: &str) -> Option<Fields> {
    let keep: &[u32] =
        match path.strip_prefix("/envoy.service.secret.v3.SecretDiscoveryService/")? {
            // type_url, subscribe, unsubscribe, initial versions, nonce, error: not the node (1).
            "DeltaSecrets" => &[2, 3, 4, 5, 6, 7],
            // version_info, names, type_url, nonce, error: not the node (2).
            _ => &[1, 3, 4, 5, 6],
        };
    Some(Fields {
        keep,
        max_bytes: MAX_REQUEST_BYTES,
        max_fields: MAX_REQUEST_FIELDS,
    })
}

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct SecretDiscovery {
    shared: Arc<Shared>,
}

/// What all streams of the service share.
#[derive(Debug)]
struct Shared {
    api: Arc<LocalApi>,
    secrets: Secrets,
    metrics: SdsMetrics,
}

impl SecretDiscovery {
    /// A service over what the local socket shares.
    pub(crate) fn new(api: Arc<LocalApi>) -> Self {
        let shared = Arc::new(Shared {
            api,
            secrets: Secrets::default(),
            metrics: SdsMetrics::default(),
        });
        Self { shared }
    }

    /// Adds the metrics of the service to a registry.
    pub(crate) fn register_metrics(&self, registry: &mut Registry) {
        self.shared.metrics.register(registry);
    }

    async fn open<D: Dialect>(
        &self,
        request: Request<Streaming<D::Request>>,
        dialect: impl FnOnce(Limits) -> D,
    ) -> Result<Response<Unsaid<D::Response>>, Status> {
        let api = &self.shared.api;
        let snapshot = api.holdings.load();
        let caller = api.attest(&request, &snapshot).await?;
        let local = local_caller(request.extensions())?.clone();
        let cost = StreamCost {
            permit: api.admit_stream(&caller, &snapshot)?,
            charge: api.account_of(&local).open(),
            local,
        };
        let limits = match caller.has_identity() || !snapshot.knows_rights() {
            true => LIMITS,
            false => LIMITS_WITHOUT_IDENTITY,
        };
        let decoder = || Codec::<D::Response, D::Request>::default().decoder();
        let requests = Messages::of(request, decoder, MAX_REQUEST_BYTES);
        let stream =
            SecretStream::new(self.shared.clone(), caller, cost, requests, dialect(limits));
        Ok(encoded(stream.into_responses(), framed))
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for SecretDiscovery {
    type StreamSecretsStream = Unsaid<DiscoveryResponse>;
    type DeltaSecretsStream = Unsaid<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        self.open(request, StateSession::new).await
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        self.open(request, DeltaSession::new).await
    }

    /// Answers with what is there now. A name that is not held yet is enrolled, and there the
    /// next time.
    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        let api = &self.shared.api;
        let snapshot = api.holdings.load();
        let caller = api.attest(&request, &snapshot).await?;
        let mut request: StateRequest = request.into_inner().into();
        with_default_type(&mut request.type_url);
        let given = Given::new();
        let view = CallerView::new(&self.shared, &snapshot, &caller, &given);
        let fetched = fetch(&request, LIMITS, &view).map_err(|e| refuse(&e))?;
        let response = fetched.response;
        api.demand(request.names.iter().filter_map(|name| view.missing(name)));
        if fetched.left_out > 0 {
            let principal = Principal::uid(caller.peer().uid);
            peer_line!(
                WARN,
                principal,
                uid = caller.peer().uid,
                pid = caller.peer().pid,
                secrets_left_out = fetched.left_out,
                "a fetch asked for more secrets than one answer can hold"
            );
        }
        for resource in &response.resources {
            stream::connect(api, &caller, &view.find(&resource.name))?.delivered(&resource.version);
        }
        Ok(Response::new(response.into()))
    }
}

/// The status of a request that ends its stream.
fn refuse(error: &SessionError) -> Status {
    Status::invalid_argument(error.to_string())
}
