//! The places of one listener: who may come in, and who may stay.
//!
//! Before anything is proved an inbound connection has a place by its source, and one that has said
//! nothing goes first: a stalled handshake keeps nobody out. Of an outbound one the kernel tells whose
//! it is, whatever its caller does or leaves undone. So no more are accepted than are asked about, the
//! others wait in their order, and none has to go for another.
//!
//! Afterwards it has a place by whom it is for, and keeps it until it ends: nobody is cut in the middle
//! of its work, so who has many open leaves some for the others.

use std::net::IpAddr;
use std::sync::Arc;

use countersign_serve::Counters;
use countersign_serve::Descriptors;
use countersign_serve::limits::{MAX_CONNECTIONS, MAX_PENDING_HANDSHAKES};
use countersign_serve::places::{Bounds, Holder, Place, Places, Surplus};
use countersign_serve::turnstile::{Attention, Turn, Turnstile};
use tokio::net::TcpStream;

use super::connection::Ended;

/// An open connection has two ends here.
const DESCRIPTORS: usize = 2;

/// Callers that are accepted and asked about together, so that a flood costs little for each. The kernel
/// answers for so many in less than a millisecond.
pub(super) const MAX_CALLERS_AT_ONCE: usize = 64;

/// How many connections one listener has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    /// Nothing is proved of these.
    pub(super) unproved: usize,
    /// These are carried.
    pub(super) open: usize,
}

impl Caps {
    /// As many as usual, or a fair share of the descriptors that are left for so many listeners.
    pub(super) fn share(descriptors: &mut Descriptors, name: &str, listeners: usize) -> Self {
        let wanted = MAX_CONNECTIONS + MAX_PENDING_HANDSHAKES / DESCRIPTORS;
        let pairs = descriptors.large(name, wanted, DESCRIPTORS, listeners);
        let unproved = MAX_PENDING_HANDSHAKES.min(pairs / 4).max(1);
        let open = pairs - unproved.div_ceil(DESCRIPTORS).min(pairs - 1);
        Self { unproved, open }
    }
}

/// The places of one inbound listener.
#[derive(Debug)]
pub(super) struct InboundPlaces {
    unproved: Turnstile,
    open: OpenPlaces,
}

impl InboundPlaces {
    pub(super) fn new(caps: Caps, counters: &Arc<Counters>) -> Self {
        Self {
            unproved: Turnstile::new(caps.unproved, counters),
            open: OpenPlaces::new(caps, counters),
        }
    }

    /// Waits until we have got round to most of those that were accepted.
    pub(super) async fn attention(&self) -> Attention {
        self.unproved.attention().await
    }

    /// A connection that was just accepted.
    pub(super) fn enter(
        &self,
        attention: Attention,
        stream: TcpStream,
        peer: IpAddr,
    ) -> Handshaking {
        Handshaking {
            stream,
            turn: self.unproved.enter(attention, peer),
            open: self.open.clone(),
        }
    }
}

/// A connection of which nothing is proved yet.
pub(super) struct Handshaking {
    pub(super) stream: TcpStream,
    pub(super) turn: Turn,
    pub(super) open: OpenPlaces,
}

/// The places of the connections that are carried.
#[derive(Clone, Debug)]
pub(super) struct OpenPlaces {
    places: Places,
    counters: Arc<Counters>,
}

impl OpenPlaces {
    pub(super) fn new(caps: Caps, counters: &Arc<Counters>) -> Self {
        let open = Bounds {
            total: caps.open,
            each: caps.open,
            surplus: Surplus::Refused,
        };
        Self {
            places: Places::observed(open, counters.connections.clone()),
            counters: Arc::clone(counters),
        }
    }

    /// A place for a connection that is carried.
    pub(super) fn settle(&self, holder: Holder) -> Result<Place, Ended> {
        let place = self.places.take(holder);
        match &place {
            Some(_) => self.counters.served.increment(),
            None => self.counters.refused.increment(),
        }
        place.ok_or(Ended::NoPlace)
    }
}
