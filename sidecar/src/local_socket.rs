//! The local socket: SPIFFE Workload API and Envoy SDS over one listener, for the callers of this machine.

mod connection;

use std::io;
use std::sync::Arc;

use countersign_proto::sds::secret_discovery_service_server::SecretDiscoveryServiceServer;
use countersign_proto::workload::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use countersign_serve::limits::CALL_BYTES;
use countersign_serve::messages::MessageBounds;
use countersign_serve::unix::{
    UnixConnection, UnixPeer, UnixSocket, UserPlaces, incoming_by_holder,
};
use countersign_serve::{Counters, Limits, grpc};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_stream::{Stream, StreamExt as _};

use crate::local_api::LocalApi;
use crate::sds::{self, SecretDiscovery};
use crate::workload_api::{self, WorkloadApi};
use connection::LocalConnection;

/// What carries the bytes of a caller.
pub(crate) trait Carried: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Carried for S {}

/// Both services.
#[derive(Clone, Debug)]
pub(crate) struct LocalSocket {
    api: Arc<LocalApi>,
    sds: SecretDiscovery,
    workload: WorkloadApi,
}

impl LocalSocket {
    /// Services over what they share.
    pub(crate) fn new(api: Arc<LocalApi>) -> Self {
        Self {
            sds: SecretDiscovery::new(Arc::clone(&api)),
            workload: WorkloadApi::new(Arc::clone(&api)),
            api,
        }
    }

    /// Adds the metrics of the services to a registry.
    pub(crate) fn register_metrics(&self, registry: &mut Registry) {
        self.sds.register_metrics(registry);
    }

    /// Serves both services from the start, until stopped. Before it is known who may have what, nobody
    /// is told that it has no identity: a Workload API call waits and is then told UNAVAILABLE, and an
    /// Envoy's names are absent until they come.
    pub(crate) async fn serve(
        self,
        socket: UnixSocket,
        (limits, counters): (Limits, Arc<Counters>),
    ) {
        let places = self.places(&limits, &counters);
        let api = Arc::clone(&self.api);
        // What it runs is looked at before a byte of it is read.
        let holder = move |peer: &UnixPeer| api.by_ids(peer).at_first(peer);
        let connections = incoming_by_holder(socket, holder, (places, limits, counters));
        self.serve_connections(connections).await;
    }

    /// The places of its connections.
    fn places(&self, limits: &Limits, counters: &Counters) -> UserPlaces {
        self.api.take_places(UserPlaces::new(limits, counters))
    }

    /// As [`serve`](Self::serve), with callers that come from elsewhere than the kernel's socket. For the
    /// simulation.
    pub(crate) async fn serve_callers<S: Carried>(
        self,
        callers: impl Stream<Item = (S, UnixPeer)>,
    ) {
        let limits = Limits::default();
        let places = self.places(&limits, &Counters::default());
        let api = Arc::clone(&self.api);
        let connections = callers.filter_map(move |caller| {
            let holder = api.by_ids(&caller.1).at_first(&caller.1);
            let place = places.take(caller.1.uid, holder)?;
            Some(Ok(UnixConnection::over(caller, place, &limits)))
        });
        self.serve_connections(connections).await;
    }

    async fn serve_connections<S: Carried>(
        self,
        connections: impl Stream<Item = io::Result<UnixConnection<S>>>,
    ) {
        let api = Arc::clone(&self.api);
        let connections = connections
            .map(move |accepted| accepted.map(|accepted| LocalConnection::new(accepted, &api)));
        let messages = self.messages();
        let stopped = self.api.stopping().cancelled_owned();
        let sds = SecretDiscoveryServiceServer::new(self.sds);
        let workload = SpiffeWorkloadApiServer::new(self.workload);
        grpc::Server::new(messages)
            .add_service(sds.max_decoding_message_size(sds::MAX_REQUEST_BYTES))
            .add_service(workload.max_decoding_message_size(workload_api::MAX_REQUEST_BYTES))
            .serve_until(connections, stopped)
            .await;
    }

    /// What callers may send.
    fn messages(&self) -> MessageBounds {
        let api = Arc::clone(&self.api);
        MessageBounds::paid_by(move |call| api.account(call))
            .sieved(sds::fields)
            .calls_cost(CALL_BYTES)
    }
}
