//! The places of one listener: who may come in, and who may stay.
//!
//! Before anything is proved a connection has a place by its source, and one that has said nothing
//! goes first: a stalled handshake keeps nobody out. Afterwards it has a place by whom
//! it is for, and keeps it until it ends: nobody is cut in the middle of its work, so who has many
//! open leaves some for the others.

use std::sync::Arc;

use countersign_serve::Counters;
use countersign_serve::Descriptors;
use countersign_serve::limits::{MAX_CONNECTIONS, MAX_PENDING_HANDSHAKES};
use countersign_serve::places::{Bounds, Holder, Place, Places, Surplus};
use countersign_serve::turnstile::{Turn, Turnstile};
use tokio::net::TcpStream;

use super::connection::Ended;

/// An open connection has two ends here.
const DESCRIPTORS: usize = 2;

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

/// The places of one listener.
#[derive(Debug)]
pub(super) struct ListenerPlaces {
    unproved: Turnstile,
    open: OpenPlaces,
}

/// The places of the connections that are carried.
#[derive(Clone, Debug)]
pub(super) struct OpenPlaces {
    places: Places,
    counters: Arc<Counters>,
}

impl ListenerPlaces {
    pub(super) fn new(caps: Caps, counters: &Arc<Counters>) -> Self {
        let open = Bounds {
            total: caps.open,
            each: caps.open,
            surplus: Surplus::Refused,
        };
        Self {
            unproved: Turnstile::new(caps.unproved, counters),
            open: OpenPlaces {
                places: Places::observed(open, counters.connections.clone()),
                counters: Arc::clone(counters),
            },
        }
    }

    /// A connection that was just accepted.
    pub(super) fn enter(&self, stream: TcpStream, peer: std::net::IpAddr) -> Entering {
        Entering {
            stream,
            turn: self.unproved.enter(peer),
            open: self.open.clone(),
        }
    }
}

/// A connection of which nothing is proved yet.
pub(super) struct Entering {
    pub(super) stream: TcpStream,
    pub(super) turn: Turn,
    pub(super) open: OpenPlaces,
}

/// A place for a connection that is carried.
pub(super) fn settle(open: &OpenPlaces, holder: Holder) -> Result<Place, Ended> {
    let place = open.places.take(holder);
    match &place {
        Some(_) => open.counters.served.increment(),
        None => open.counters.refused.increment(),
    }
    place.ok_or(Ended::NoPlace)
}
