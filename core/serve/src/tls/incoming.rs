//! The connections of a TLS listener: handshakes side by side, then a place by what was proved.
//!
//! Before the handshake a connection is counted for its source, in the listener's [`Turnstile`]. After
//! it the daemon says whether it [recognises](Standing) the peer. Who is recognised has places that
//! no stranger can take; strangers share a small number for a short time.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use countersign_telemetry::{Principal, peer_line};
use rustls::ServerConfig;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

use super::connection::{Tenure, TlsConnection};
use super::{HandshakeError, Metered, TlsPeer, handshake_within};
use crate::accept::Ready;
use crate::counters::Counters;
use crate::limits::Limits;
use crate::places::{Bounds, Holder, Place, Places, Standing, Surplus};
use crate::source::Source;
use crate::turnstile::{Turn, Turnstile};
use crate::wire::{Listen, Wire};

/// What a TLS listener serves with.
#[derive(Clone)]
pub struct TlsService {
    /// The server's side of the handshake.
    pub config: Arc<ServerConfig>,
    /// Fills [`TlsPeer::exporter`].
    pub exporter_label: &'static [u8],
    /// Is asked once a connection, after the handshake; it must not wait.
    pub standing: Arc<dyn Fn(&TlsPeer) -> Standing + Send + Sync>,
    /// Its bounds.
    pub limits: Limits,
    /// What became of its connections.
    pub counters: Arc<Counters>,
}

impl fmt::Debug for TlsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsService")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl TlsService {
    /// With the usual limits, and everybody recognised who proved an identity.
    pub fn new(config: Arc<ServerConfig>, exporter_label: &'static [u8]) -> Self {
        Self {
            config,
            exporter_label,
            standing: Arc::new(|peer| match peer.svid {
                Some(_) => Standing::Recognised,
                None => Standing::Stranger,
            }),
            limits: Limits::default(),
            counters: Arc::default(),
        }
    }
}

/// The connections of a TLS listener, for [`Server::serve`](crate::grpc::Server::serve): handshakes run side
/// by side, each within its deadline; a failed one ends that connection alone.
pub fn incoming<L: Listen>(
    listener: L,
    service: TlsService,
) -> impl Stream<Item = io::Result<TlsConnection<L::Wire>>> + Send + 'static {
    let Limits {
        max_pending_handshakes,
        max_strangers,
        max_connections,
        max_connections_per_identity,
        ..
    } = service.limits;
    let counters = &service.counters;
    let strangers = Bounds {
        total: max_strangers,
        each: max_strangers,
        surplus: Surplus::OldestGoes,
    };
    let recognised = Bounds {
        total: max_connections,
        each: max_connections_per_identity,
        surplus: Surplus::OldestOfItsOwnGoes,
    };
    let greeter = Greeter {
        turnstile: Turnstile::new(max_pending_handshakes, counters),
        strangers: Places::observed(strangers, counters.strangers.clone()),
        recognised: Places::observed(recognised, counters.connections.clone()),
        service,
    };
    Ready::spawn(move |ready| Arc::new(greeter).run(listener, ready))
}

/// What every handshake of a listener needs.
struct Greeter {
    service: TlsService,
    turnstile: Turnstile,
    strangers: Places,
    recognised: Places,
}

impl Greeter {
    async fn run<L: Listen>(
        self: Arc<Self>,
        listener: L,
        ready: mpsc::Sender<TlsConnection<L::Wire>>,
    ) {
        let mut greeting = JoinSet::new();
        loop {
            let accepting = async { (self.turnstile.attention().await, listener.accept().await) };
            let (attention, (stream, address)) = tokio::select! {
                accepted = accepting => accepted,
                Some(_) = greeting.join_next() => continue,
            };
            let turn = self.turnstile.enter(attention, address.ip());
            let greeter = Arc::clone(&self);
            greeting.spawn(greeter.introduce(stream, address, turn, ready.clone()));
        }
    }

    async fn introduce<W: Wire>(
        self: Arc<Self>,
        stream: W,
        address: SocketAddr,
        turn: Turn,
        ready: mpsc::Sender<TlsConnection<W>>,
    ) {
        let TlsService {
            config,
            limits,
            counters,
            ..
        } = &self.service;
        let (config, deadline) = (Arc::clone(config), limits.handshake_deadline);
        match handshake_within(stream, config, turn, deadline).await {
            Ok(stream) => {
                if let Some(connection) = self.connection(stream, address)
                    && ready.send(connection).await.is_ok()
                {
                    counters.served.increment();
                }
            }
            Err(error) => {
                counters.handshake_failed(&error);
                tell(address, &error);
            }
        }
    }

    /// A connection with its place; `None` where there is none for it.
    fn connection<W: Wire>(
        &self,
        stream: TlsStream<Metered<W>>,
        address: SocketAddr,
    ) -> Option<TlsConnection<W>> {
        let (_, session) = stream.get_ref();
        let label = self.service.exporter_label;
        let exporter = session.export_keying_material([0; 32], label, None).ok()?;
        let svid = session
            .peer_certificates()
            .and_then(countersign_verify::tls::peer_of)
            .map(Arc::new);
        let peer = TlsPeer {
            address,
            svid,
            exporter,
        };
        let tenure = self.tenure(&peer)?;
        let limit = self.service.limits.first_byte_deadline;
        Some(TlsConnection::new(stream, peer, tenure, limit))
    }

    fn tenure(&self, peer: &TlsPeer) -> Option<Tenure> {
        let counters = &self.service.counters;
        let is_recognised = (self.service.standing)(peer) == Standing::Recognised;
        match &peer.svid {
            Some(svid) if is_recognised => {
                let place = self.recognised.take(Holder::Identity(svid.id.clone()));
                if place.is_none() {
                    counters.refused.increment();
                    let node = Principal::identity(svid.id.as_str());
                    self.warn(node, peer, "no place is left for a recognised peer");
                }
                place.map(Tenure::unlimited)
            }
            _ => Some(self.stranger(peer)),
        }
    }

    /// Strangers get in, for a while and at the cost of each other.
    fn stranger(&self, peer: &TlsPeer) -> Tenure {
        let counters = &self.service.counters;
        if counters.strangers.is_full() {
            let stranger = Principal::source(peer.address.ip());
            self.warn(stranger, peer, "strangers fill their places; the oldest go");
        }
        let source = Holder::Source(Source::of(peer.address.ip()));
        let place: Option<Place> = self.strangers.take(source);
        let place = place.expect("where the oldest goes nobody is refused");
        Tenure::of_stranger(place, &self.service.limits, counters)
    }

    fn warn(&self, principal: Principal, peer: &TlsPeer, problem: &'static str) {
        let strangers = self.service.counters.strangers.open();
        let recognised = self.service.counters.connections.open();
        peer_line!(
            WARN,
            principal,
            peer = %peer.address,
            strangers,
            recognised,
            problem,
            "listener is full"
        );
    }
}

/// Whoever shows a certificate means to be known: that it is not, an operator has to see.
fn tell(peer: SocketAddr, error: &HandshakeError) {
    let reason = error.code();
    if error.is_about_a_certificate() {
        let source = Principal::source(peer.ip());
        peer_line!(WARN, source, %peer, reason, %error, "client certificate refused");
    } else {
        tracing::debug!(%peer, reason, %error, "handshake refused");
    }
}
