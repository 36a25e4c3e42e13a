//! What the services of the local socket share: SPIFFE Workload API and Envoy SDS.
//!
//! Both attest the caller by its connection, read [`Holdings`], and record in [`Consumers`] what
//! each caller has. Neither looks at anything that a caller says about itself.

mod admissible;
#[cfg(test)]
pub(crate) mod harness;
mod quota;
mod socket;

use std::sync::{Arc, OnceLock};

use countersign_model::{EntitlementId, SpiffeId, TrustDomain};
use countersign_proto::sds::secret_discovery_service_server::SecretDiscoveryServiceServer;
use countersign_proto::workload::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use countersign_serve::limits::{BYTES_OF_A_USER, BYTES_OF_LOCAL_STRANGERS, CALL_BYTES};
use countersign_serve::messages::{Account, ByteBudget, MessageBounds, Payer, Shares};
use countersign_serve::places::{Holder, Standing};
use countersign_serve::unix::{UnixPeer, UnixSocket, UserPlaces, incoming_by_holder};
use countersign_serve::{Counters, Limits, grpc};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Request, Status};

pub use quota::{
    MAX_STREAMS_PER_UID, MAX_STREAMS_WITHOUT_IDENTITY, StreamPermit, StreamQuota, TooMany,
};
pub use socket::{LocalCaller, LocalConnection, LocalPeer};

pub(crate) use admissible::holder;
use admissible::{Admissible, ByIds};

use crate::attest::{Caller, Programs};
use crate::consumers::{Connection, ConsumerKind, Consumers, Full, Owner};
use crate::holdings::{Holdings, Snapshot};
use crate::sds::{
    MAX_REQUEST_BYTES as MAX_SDS_REQUEST_BYTES, Metrics, SecretDiscovery, Secrets, fields,
};
use crate::workload_api::{MAX_REQUEST_BYTES, WorkloadApi};

/// Both services on one socket.
pub type Services = (
    SecretDiscoveryServiceServer<SecretDiscovery>,
    SpiffeWorkloadApiServer<WorkloadApi>,
);

/// What both services work with.
#[derive(Debug)]
pub struct LocalApi {
    /// The ID of our trust domain: what its bundle is called, and its identities begin with.
    pub(crate) trust_domain_id: SpiffeId,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) consumers: Arc<Consumers>,
    pub(crate) secrets: Secrets,
    pub(crate) metrics: Metrics,
    clock: fn() -> Timestamp,
    quota: Arc<StreamQuota>,
    programs: Arc<Programs>,
    budget: Arc<ByteBudget>,
    strangers: Arc<ByteBudget>,
    admissible: Admissible,
    places: Arc<OnceLock<UserPlaces>>,
    stopping: CancellationToken,
}

/// What callers make this process hold: calls, unfinished messages, answers that they do not read, the
/// names that streams ask for and that connections index. Each holder has enough for thousands of
/// secrets; the total is for as many users as a node has.
const SHARES: Shares = Shares {
    total: 256 * 1024 * 1024,
    each: BYTES_OF_A_USER,
};

/// The same of all callers together that may have nothing. One of them may have an Envoy with a thousand
/// secrets, while this node does not know yet who may have what. Where all is taken, of the uid that holds
/// most the connection that holds most goes.
const STRANGERS_AT_FIRST: Shares = Shares {
    total: BYTES_OF_LOCAL_STRANGERS,
    each: BYTES_OF_LOCAL_STRANGERS / 6 * 5,
};

/// The same once that is known: what Envoys that wait for their registration ask for.
pub(crate) const STRANGERS: Shares = Shares {
    total: BYTES_OF_LOCAL_STRANGERS / 3 * 2,
    each: BYTES_OF_LOCAL_STRANGERS / 6,
};

impl LocalApi {
    /// Serves from `holdings` and records in `consumers`. `clock` tells the wall-clock time.
    pub fn new(
        holdings: Arc<Holdings>,
        consumers: Arc<Consumers>,
        trust_domain: &TrustDomain,
        clock: fn() -> Timestamp,
    ) -> Arc<Self> {
        let places = Arc::<OnceLock<UserPlaces>>::default();
        Arc::new(Self {
            trust_domain_id: trust_domain.id(),
            holdings,
            consumers,
            secrets: Secrets::default(),
            metrics: Metrics::default(),
            clock,
            quota: Arc::default(),
            programs: Arc::default(),
            budget: ByteBudget::new(SHARES),
            strangers: strangers_budget(places.clone()),
            admissible: Admissible::default(),
            places,
            stopping: CancellationToken::new(),
        })
    }

    /// Ends: nobody is accepted any more, streams are closed with UNAVAILABLE, and [`serve`](Self::serve)
    /// ends with the last connection.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Serves both services from the start, until stopped. Before it is known who may have what, nobody
    /// is told that it has no identity: a Workload API call waits and is then told UNAVAILABLE, and an
    /// Envoy's names are absent until they come.
    pub async fn serve(
        self: Arc<Self>,
        socket: UnixSocket,
        (limits, counters): (Limits, Arc<Counters>),
    ) {
        let places = UserPlaces::new(&limits, &counters);
        let places = self.places.get_or_init(|| places).clone();
        let api = Arc::clone(&self);
        // What it runs is looked at before a byte of it is read.
        let holder = move |peer: &UnixPeer| api.by_ids(peer).at_first(peer);
        let connections = incoming_by_holder(socket, holder, (places, limits, counters));
        let api = Arc::clone(&self);
        let connections = connections
            .map(move |accepted| accepted.map(|accepted| LocalConnection::new(accepted, &api)));
        let (sds, workload) = self.services();
        grpc::Server::new(self.messages())
            .add_service(sds)
            .add_service(workload)
            .serve_until(connections, self.stopping.clone().cancelled_owned())
            .await;
    }

    /// Adds the metrics of the socket to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    fn services(self: &Arc<Self>) -> Services {
        let sds = SecretDiscoveryServiceServer::new(SecretDiscovery::new(self.clone()));
        let workload = SpiffeWorkloadApiServer::new(WorkloadApi::new(self.clone()));
        (
            sds.max_decoding_message_size(MAX_SDS_REQUEST_BYTES),
            workload.max_decoding_message_size(MAX_REQUEST_BYTES),
        )
    }

    /// What callers may send.
    fn messages(self: &Arc<Self>) -> MessageBounds {
        let api = Arc::clone(self);
        MessageBounds::paid_by(move |call| api.account(call))
            .sieved(fields)
            .calls_cost(CALL_BYTES)
    }

    /// Who pays for what a call makes us hold.
    pub(crate) fn account(&self, call: &Extensions) -> Account {
        match call.get::<LocalCaller>() {
            Some(caller) => self.account_of(caller),
            None => self.budget.account(Payer::unknown()),
        }
    }

    /// Who pays for what this caller makes us hold from now on.
    pub(crate) fn account_of(&self, caller: &LocalCaller) -> Account {
        let holder = caller.place.holder();
        match holder.standing() {
            Standing::Recognised => self.budget.account(holder),
            Standing::Stranger => {
                let account = self.account_of_stranger(holder);
                account.weighed(caller.place.weight())
            }
        }
    }

    fn account_of_stranger(&self, holder: Holder) -> Account {
        let account = self.strangers.account(holder);
        match self.holdings.load().knows_rights() {
            true => account.within(STRANGERS),
            false => account,
        }
    }

    /// What the ids of a caller say.
    fn by_ids(&self, peer: &UnixPeer) -> ByIds {
        self.admissible.judge(peer, &self.holdings.load())
    }

    /// Whom a caller is counted for, its program included.
    async fn holder_of(self: Arc<Self>, peer: LocalPeer) -> Holder {
        let snapshot = self.holdings.load();
        let caller = Caller::attest(peer, &snapshot, &self.programs).await;
        caller.holder().clone()
    }

    /// What all callers make us hold now.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.budget.held() + self.strangers.held()
    }

    /// What those hold who may have nothing.
    #[cfg(test)]
    pub(crate) fn strangers_held(&self) -> usize {
        self.strangers.held()
    }

    /// So many bytes more that such a uid holds.
    #[cfg(test)]
    pub(crate) fn strangers_hold(&self, uid: u32, bytes: usize) -> Option<impl Sized + use<>> {
        let mut charge = self.account_of_stranger(Payer::Stranger(uid)).open();
        charge.resize(bytes).ok().map(|()| charge)
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Attests the caller of a request by its connection alone.
    pub(crate) async fn attest<T>(
        &self,
        request: &Request<T>,
        snapshot: &Snapshot,
    ) -> Result<Caller, Status> {
        let LocalCaller { peer, place } = local_caller(request.extensions())?;
        let caller = Caller::attest(peer.clone(), snapshot, &self.programs).await;
        place.change(caller.holder());
        match caller.is_in_doubt() {
            true => Err(in_doubt()),
            false => Ok(caller),
        }
    }

    /// A place among the open streams of whom the caller is counted for. Before it is known who may
    /// have what, everybody may have something.
    pub(crate) fn admit_stream(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
    ) -> Result<StreamPermit, TooMany> {
        let has_identity = caller.has_identity() || !snapshot.knows_rights();
        self.quota.admit(caller.holder().clone(), has_identity)
    }

    /// Enters an open stream into the record of consumers.
    pub(crate) fn connect(
        &self,
        caller: &Caller,
        id: &str,
        kind: ConsumerKind,
        resource: &str,
    ) -> Result<Connection, Status> {
        let owner = Owner {
            holder: caller.holder().clone(),
            process: caller.process_name().into(),
        };
        let connect = || self.consumers.connect(&owner, id, kind, resource);
        let connected = connect().or_else(|full| {
            if full != Full::Record {
                return Err(full);
            }
            self.consumers.forget_expired(self.now());
            self.consumers.fold_disconnected();
            connect()
        });
        connected.map_err(|full| {
            let (principal, peer) = (Principal::uid(caller.peer().uid), caller.peer());
            peer_line!(WARN, principal, uid = peer.uid, pid = peer.pid, reason = %full, "consumer refused");
            Status::resource_exhausted(full.to_string())
        })
    }

    /// Waits for another generation than a stream has seen.
    pub(crate) async fn changed(
        &self,
        generations: &mut watch::Receiver<u64>,
    ) -> Result<(), Status> {
        let stopping = || Status::unavailable("the sidecar is stopping");
        tokio::select! {
            () = self.stopping.cancelled() => Err(stopping()),
            changed = generations.changed() => changed.map_err(|_| stopping()),
        }
    }

    /// Asks for the credentials that a caller wants and that are not held yet.
    pub(crate) fn demand<'a>(&self, missing: impl Iterator<Item = &'a EntitlementId>) {
        missing.for_each(|id| self.holdings.demand(id));
    }
}

/// Of a caller whose executable cannot be looked at now: it shall ask again.
pub(crate) fn in_doubt() -> Status {
    Status::unavailable("the file system of this program does not answer the sidecar")
}

/// Who calls, and the place of its connection.
pub(crate) fn local_caller(call: &Extensions) -> Result<&LocalCaller, Status> {
    call.get::<LocalCaller>()
        .ok_or_else(|| Status::unauthenticated("no peer credentials"))
}

fn strangers_budget(places: Arc<OnceLock<UserPlaces>>) -> Arc<ByteBudget> {
    ByteBudget::relieved_by(STRANGERS_AT_FIRST, move |greediest| {
        if let (Payer::Stranger(uid), Some(places)) = (greediest, places.get()) {
            places.cut_stranger(*uid);
        }
    })
}
