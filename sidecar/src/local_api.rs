//! What the services of the local socket share: SPIFFE Workload API and Envoy SDS.
//!
//! Both attest the caller by its connection, read [`Holdings`], and record in [`Consumers`] what
//! each caller has. Neither looks at anything that a caller says about itself.

mod admissible;
#[cfg(test)]
pub(crate) mod harness;
pub(crate) mod quota;

use std::sync::{Arc, OnceLock};

use countersign_model::{EntitlementId, SpiffeId, TrustDomain};
use countersign_serve::limits::{BYTES_OF_A_USER, BYTES_OF_LOCAL_STRANGERS};
use countersign_serve::messages::{Account, ByteBudget, Payer, Shares};
use countersign_serve::places::{Holder, Standing};
use countersign_serve::unix::{UnixPeer, UserPlace, UserPlaces};
use countersign_telemetry::{Principal, peer_line};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Request, Status};

use admissible::{Admissible, ByIds};
pub(crate) use quota::{StreamPermit, StreamQuota, TooMany};

use crate::attest::{Caller, LocalPeer, Programs};
use crate::clock::Clock;
use crate::consumers::{ConsumerKind, ConsumerStream, Consumers, Full, Owner};
use crate::holdings::{Follower, Holdings, Snapshot};

/// A caller and the place of its connection: found in the extensions of every request on it.
#[derive(Clone, Debug)]
pub(crate) struct LocalCaller {
    /// Who.
    pub(crate) peer: LocalPeer,
    /// The place of its connection.
    pub(crate) place: Arc<UserPlace>,
}

/// What both services work with.
#[derive(Debug)]
pub(crate) struct LocalApi {
    /// The ID of our trust domain: what its bundle is called, and its identities begin with.
    pub(crate) trust_domain_id: SpiffeId,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) consumers: Arc<Consumers>,
    clock: Clock,
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

/// The same for all callers together that may have nothing. One of them may have an Envoy with a thousand
/// secrets, while this node does not know yet who may have what. When nothing is left, the largest
/// connection of the uid that holds most is cut.
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
    pub(crate) fn new(
        holdings: Arc<Holdings>,
        consumers: Arc<Consumers>,
        trust_domain: &TrustDomain,
        clock: Clock,
    ) -> Arc<Self> {
        let places = Arc::<OnceLock<UserPlaces>>::default();
        Arc::new(Self {
            trust_domain_id: trust_domain.id(),
            holdings,
            consumers,
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

    /// Ends: nobody is accepted any more, streams are closed with UNAVAILABLE, and
    /// serving ends with the last connection.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
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
    pub(crate) fn by_ids(&self, peer: &UnixPeer) -> ByIds {
        self.admissible.judge(peer, &self.holdings.load())
    }

    /// Whom a caller is counted for, its program included.
    pub(crate) async fn holder_of(self: Arc<Self>, peer: LocalPeer) -> Holder {
        let snapshot = self.holdings.load();
        let caller = Caller::attest(peer, &snapshot, &self.programs).await;
        caller.holder().clone()
    }

    /// The places that connections of callers take, and which a greedy one loses. They are made once.
    pub(crate) fn take_places(&self, made: UserPlaces) -> UserPlaces {
        self.places.get_or_init(|| made).clone()
    }

    /// Cancelled when the socket ends.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
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
        self.clock.now()
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
        resource: Option<&str>,
    ) -> Result<ConsumerStream, Status> {
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

    /// Waits until something changed that a stream follows.
    pub(crate) async fn changed(&self, follower: &Follower) -> Result<(), Status> {
        tokio::select! {
            () = self.stopping.cancelled() => {
                Err(Status::unavailable("the sidecar is stopping"))
            }
            () = follower.due() => Ok(()),
        }
    }

    /// Asks for the credentials that a caller wants and that are not held yet.
    pub(crate) fn demand<'a>(&self, missing: impl Iterator<Item = &'a EntitlementId>) {
        missing.for_each(|id| self.holdings.demand(id));
    }
}

/// The answer to a caller whose executable cannot be looked at now: it asks again.
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
