//! What the services of the local socket share: SPIFFE Workload API and Envoy SDS.
//!
//! Both attest the caller by its connection, read [`Holdings`], and record in [`Consumers`] what
//! each caller has. Neither looks at anything that a caller says about itself.

#[cfg(test)]
pub(crate) mod harness;
mod quota;
mod socket;

use std::sync::Arc;

use countersign_model::{EntitlementId, SpiffeId, TrustDomain};
use countersign_proto::sds::secret_discovery_service_server::SecretDiscoveryServiceServer;
use countersign_proto::workload::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use countersign_serve::messages::{Account, ByteBudget, MessageBounds, Payer, Shares};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tonic::{Extensions, Request, Status};

pub use quota::{MAX_STREAMS_PER_UID, MAX_STREAMS_WITHOUT_IDENTITY, StreamPermit, StreamQuota};
pub use socket::{LocalConnection, LocalPeer, recognised};

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
}

/// What callers make this process hold: unfinished messages, and the names that streams ask for. Each
/// user has enough for thousands of secrets; the total is for as many users as a node has.
const SHARES: Shares = Shares {
    total: 256 * 1024 * 1024,
    each: 16 * 1024 * 1024,
};

impl LocalApi {
    /// Serves from `holdings` and records in `consumers`. `clock` tells the wall-clock time.
    pub fn new(
        holdings: Arc<Holdings>,
        consumers: Arc<Consumers>,
        trust_domain: &TrustDomain,
        clock: fn() -> Timestamp,
    ) -> Arc<Self> {
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
        })
    }

    /// Adds the metrics of the socket to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// The services, to be added to one server on one Unix listener whose connections carry a
    /// [`LocalPeer`].
    pub fn services(self: &Arc<Self>) -> Services {
        let sds = SecretDiscoveryServiceServer::new(SecretDiscovery::new(self.clone()));
        let workload = SpiffeWorkloadApiServer::new(WorkloadApi::new(self.clone()));
        (
            sds.max_decoding_message_size(MAX_SDS_REQUEST_BYTES),
            workload.max_decoding_message_size(MAX_REQUEST_BYTES),
        )
    }

    /// What callers may send: to be set on the server of the socket.
    pub fn messages(self: &Arc<Self>) -> MessageBounds {
        let api = Arc::clone(self);
        MessageBounds::paid_by(move |call| api.account(call)).sieved(fields)
    }

    /// Who pays for what a call makes us hold.
    pub(crate) fn account(&self, call: &Extensions) -> Account {
        let peer = call.get::<LocalPeer>();
        let payer = peer.map_or_else(Payer::unknown, |local| Payer::Uid(local.peer.uid));
        self.budget.account(payer)
    }

    /// What all callers make us hold now.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.budget.held()
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
        let peer = request.extensions().get::<LocalPeer>().copied();
        let peer = peer.ok_or_else(|| Status::unauthenticated("no peer credentials"))?;
        let caller = Caller::attest(peer, snapshot, &self.programs).await;
        match caller.is_in_doubt() {
            true => Err(in_doubt()),
            false => Ok(caller),
        }
    }

    /// A place among the open streams of the caller's uid. Before it is known who may have what,
    /// everybody may have something.
    pub(crate) fn admit_stream(
        &self,
        caller: &Caller,
        snapshot: &Snapshot,
    ) -> Result<StreamPermit, Status> {
        let has_identity = caller.has_identity() || !snapshot.knows_rights();
        self.quota
            .admit(caller.peer().uid, has_identity)
            .ok_or_else(|| match has_identity {
                true => Status::resource_exhausted("too many streams of one user"),
                false => Status::resource_exhausted("too many streams of a user without identity"),
            })
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
            uid: caller.peer().uid,
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
            let (principal, peer) = (Principal::uid(owner.uid), caller.peer());
            peer_line!(WARN, principal, uid = peer.uid, pid = peer.pid, reason = %full, "consumer refused");
            Status::resource_exhausted(full.to_string())
        })
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
