//! The data path: terminates mTLS on inbound listeners, originates it on outbound ones.
//!
//! Listeners are bound at start, so that a port in use is a configuration error, and refuse every
//! connection until their identity is installed. A rotation concerns the handshakes that begin after it; a
//! connection once made goes on, until one end closes it or the right to its identity is removed.

pub(crate) mod callers;
mod connection;
mod copy;
mod entering;
pub(crate) mod identity;
mod inbound;
mod outbound;

use std::borrow::Cow;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::sync::Arc;
use std::time::Duration;

use countersign_serve::accept::{accept_tcp, accept_waiting};
use countersign_serve::{BindError, Counters, Descriptors, bind_tcp};
use countersign_verify::tls::TrustCell;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::callers::UID_IS_NOT_ENOUGH;
use self::connection::{Connection, reset};
use self::entering::{Caps, InboundPlaces, MAX_CALLERS_AT_ONCE, OpenPlaces};
use self::identity::{Identities, LocalIdentity};
use self::inbound::InboundRoute;
use self::outbound::{LocalEnd, OutboundRoute};
use crate::clock::Clock;
use crate::config::{AttestCallers, Inbound, Outbound};
use crate::telemetry::{Counted, Metrics, Side};

/// A connection to the next hop is made in this time or given up.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// A bound listener, as `status` and the log tell it.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    /// Its table in the configuration, such as `inbound[0]`.
    pub(crate) name: Arc<str>,
    /// Which side of a connection it is.
    pub(crate) side: Side,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The identity that it presents.
    pub(crate) identity: Arc<LocalIdentity>,
    /// How it knows whom it lends that identity to.
    pub(crate) attest_callers: AttestCallers,
    /// What became of its connections.
    pub(crate) counters: Arc<Counters>,
}

/// The counters of every listener that a configuration has, by its name: inbound ones first.
pub(crate) fn counters(inbound: usize, outbound: usize) -> Vec<Counted> {
    let names = (0..inbound).map(|number| format!("inbound[{number}]"));
    let names = names.chain((0..outbound).map(|number| format!("outbound[{number}]")));
    names.map(|name| (name.into(), Arc::default())).collect()
}

impl Listening {
    /// Why nobody can be served, though the identity is there.
    pub(crate) fn hindrance(&self, now: Timestamp) -> Option<Cow<'static, str>> {
        let presented = self.identity.presented()?;
        if let Err(expired) = presented.check_time(now) {
            return Some(expired.to_string().into());
        }
        let by_uid = self.attest_callers == AttestCallers::Uid;
        (by_uid && !presented.is_admissible_by_uid()).then_some(UID_IS_NOT_ENOUGH.into())
    }
}

/// All listeners of one sidecar.
#[derive(Debug)]
pub(crate) struct Proxy {
    listeners: Vec<(Listening, TcpListener, Route)>,
    identities: Arc<Identities>,
    metrics: Arc<Metrics>,
}

impl Proxy {
    /// Binds every listener. `counted` are their counters, as [`counters`] makes them.
    ///
    /// # Errors
    /// The first address that cannot be had, with the setting that names it.
    pub(crate) fn bind(
        (inbound, outbound): (&[Inbound], &[Outbound]),
        (trust, clock): (&Arc<TrustCell>, Clock),
        metrics: &Arc<Metrics>,
        counted: Vec<Counted>,
    ) -> Result<Self, BindError> {
        let mut counted = counted.into_iter();
        let mut next = move || counted.next().expect("one for each listener");
        let ids = inbound.iter().map(|listener| &listener.identity);
        let ids = ids.chain(outbound.iter().map(|listener| &listener.identity));
        let identities = Identities::new(ids.cloned(), clock);
        let mut proxy = Self {
            listeners: Vec::new(),
            identities: Arc::clone(&identities),
            metrics: Arc::clone(metrics),
        };
        let of = |id| {
            Arc::clone(
                identities
                    .of(id)
                    .expect("every listener's identity is in it"),
            )
        };
        for listener in inbound {
            let identity = of(&listener.identity);
            let route = InboundRoute::new(listener, identity.cell(), trust);
            proxy.add(
                next(),
                listener.listen,
                identity,
                Route::Inbound(Arc::new(route)),
            )?;
        }
        for listener in outbound {
            let identity = of(&listener.identity);
            let route = OutboundRoute::new(listener, identity.cell(), trust);
            proxy.add(
                next(),
                listener.listen,
                identity,
                Route::Outbound(Arc::new(route)),
            )?;
        }
        Ok(proxy)
    }

    /// What is bound.
    pub(crate) fn listening(&self) -> Vec<Listening> {
        let listeners = self.listeners.iter();
        listeners.map(|(listening, ..)| listening.clone()).collect()
    }

    /// The identities that the listeners present.
    pub(crate) fn identities(&self) -> &Arc<Identities> {
        &self.identities
    }

    /// Accepts on every listener until `stop`; connections are tasks of `tracker`, which is how
    /// a drain waits for them. How many there may be comes from the descriptors that are left.
    pub(crate) fn start(
        self,
        descriptors: &mut Descriptors,
        stop: &CancellationToken,
        tracker: &TaskTracker,
    ) {
        let mut left = self.listeners.len();
        for (listening, listener, route) in self.listeners {
            let caps = Caps::share(descriptors, &listening.name, left);
            left -= 1;
            let accepting = Accepting {
                caps,
                listening,
                listener,
                identities: Arc::clone(&self.identities),
                metrics: Arc::clone(&self.metrics),
                tracker: tracker.clone(),
                stop: stop.clone(),
            };
            tracker.spawn(accepting.run(route));
        }
    }

    fn add(
        &mut self,
        (name, counters): Counted,
        address: SocketAddr,
        identity: Arc<LocalIdentity>,
        route: Route,
    ) -> Result<(), BindError> {
        let setting = format!("{name}.listen");
        let listener = bind_tcp(address, &setting)?;
        let address = listener.local_addr().map_err(|source| BindError {
            setting,
            address: address.to_string(),
            source,
        })?;
        let listening = Listening {
            name,
            side: route.side(),
            address,
            identity,
            attest_callers: route.attest_callers(),
            counters,
        };
        tracing::info!(listener = %listening.name, address = %address, "listening");
        self.listeners.push((listening, listener, route));
        Ok(())
    }
}

#[derive(Debug)]
enum Route {
    Inbound(Arc<InboundRoute>),
    Outbound(Arc<OutboundRoute>),
}

impl Route {
    fn side(&self) -> Side {
        match self {
            Self::Inbound(_) => Side::Inbound,
            Self::Outbound(_) => Side::Outbound,
        }
    }

    fn attest_callers(&self) -> AttestCallers {
        match self {
            Self::Inbound(route) => route.attest,
            Self::Outbound(route) => route.attest,
        }
    }
}

/// The accept loop of one listener.
struct Accepting {
    listening: Listening,
    listener: TcpListener,
    caps: Caps,
    identities: Arc<Identities>,
    metrics: Arc<Metrics>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Accepting {
    /// Accepts from the start, also while there is no identity to lend: then each connection is
    /// refused at once. None waits in the backlog, where its sender can vanish unseen.
    async fn run(self, route: Route) {
        let announcing = self.stop.run_until_cancelled(self.announce());
        match route {
            Route::Inbound(route) => tokio::join!(announcing, self.accept_peers(route)),
            Route::Outbound(route) => tokio::join!(announcing, self.accept_callers(route)),
        };
    }

    async fn announce(&self) {
        self.listening.identity.installed().await;
        tracing::info!(listener = %self.listening.name, "accepting");
        if let Some(problem) = self.listening.hindrance(self.identities.now()) {
            tracing::warn!(listener = %self.listening.name, %problem, "everybody will be refused");
        }
    }

    async fn accept_peers(&self, route: Arc<InboundRoute>) {
        let places = InboundPlaces::new(self.caps, &self.listening.counters);
        let accepting = async || (places.attention().await, accept_tcp(&self.listener).await);
        while let Some((attention, (stream, peer))) =
            self.stop.run_until_cancelled(accepting()).await
        {
            let connection = self.open(peer);
            let entering = places.enter(attention, stream, peer.ip());
            let route = Arc::clone(&route);
            self.tracker.spawn(async move {
                let ended = Box::pin(route.carry(entering, &connection)).await;
                connection.close(ended);
            });
        }
    }

    /// Accepts no more callers before it is known whose the last ones are.
    async fn accept_callers(&self, route: Arc<OutboundRoute>) {
        let open = OpenPlaces::new(self.caps, &self.listening.counters);
        let most = self.caps.unproved.min(MAX_CALLERS_AT_ONCE);
        let accepting = || accept_waiting(&self.listener, most);
        while let Some(accepted) = self.stop.run_until_cancelled(accepting()).await {
            let (streams, peers): (Vec<_>, Vec<_>) = accepted.into_iter().unzip();
            let callers = route.callers(&streams).await;
            for ((stream, peer), caller) in streams.into_iter().zip(peers).zip(callers) {
                self.admit((stream, peer), caller, &route, &open);
            }
            // Nobody is asked about a flood of what has ended already: others get their turn all the same.
            yield_now().await;
        }
    }

    /// Who may not use the identity sees its connection reset, at the cost of no task.
    fn admit(
        &self,
        (stream, peer): (StdTcpStream, SocketAddr),
        caller: LocalEnd,
        route: &Arc<OutboundRoute>,
        open: &OpenPlaces,
    ) {
        let connection = self.open(peer);
        match route.admit(caller, open, &connection) {
            Ok(admitted) => {
                let route = Arc::clone(route);
                self.tracker.spawn(async move {
                    let ended = Box::pin(route.carry(stream, admitted, &connection)).await;
                    connection.close(ended);
                });
            }
            Err(refused) => {
                reset(&stream);
                connection.close(Err(refused));
            }
        }
    }

    fn open(&self, peer: SocketAddr) -> Connection {
        let (identities, metrics) = (Arc::clone(&self.identities), Arc::clone(&self.metrics));
        Connection::open(&self.listening, peer, identities, metrics)
    }
}

#[cfg(test)]
mod tests;
