//! What became of the connections of a listener, for its metrics.

mod series;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::places::Occupancy;
use crate::tls::HandshakeError;

pub use series::ListenerSeries;

/// Counts since start. Shared between a listener and whoever shows its metrics.
#[derive(Debug, Default)]
pub struct Counters {
    /// Handed to the server.
    pub served: Count,
    /// Handshakes that ran out of time.
    pub late: Count,
    /// Handshakes that TLS or the verifier refused, or that broke.
    pub failed: Count,
    /// Closed at once: too many connections, too many a second, or not admitted.
    pub refused: Count,
    /// Hung up before they were looked at.
    pub gone: Count,
    /// Served, and cut because a stranger may stay only for a while.
    pub overdue: Count,
    /// Places of handshakes under way.
    pub handshakes: Arc<Occupancy>,
    /// Places of peers that are not recognised.
    pub strangers: Arc<Occupancy>,
    /// Places of everybody else.
    pub connections: Arc<Occupancy>,
    reasons: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// Every count with its word for metric labels.
    pub fn results(&self) -> [(&'static str, u64); 8] {
        let displaced = self.strangers.displaced() + self.connections.displaced();
        [
            ("served", self.served.value()),
            ("late", self.late.value()),
            ("failed", self.failed.value()),
            ("evicted", self.handshakes.displaced()),
            ("refused", self.refused.value()),
            ("gone", self.gone.value()),
            ("displaced", displaced),
            ("overdue", self.overdue.value()),
        ]
    }

    /// What an operator is shown.
    pub fn usage(&self) -> Usage {
        let places = |of: &Occupancy| PlacesTaken {
            taken: of.open(),
            bound: of.total(),
        };
        let displaced = [&self.handshakes, &self.strangers, &self.connections];
        let displaced: u64 = displaced.iter().map(|places| places.displaced()).sum();
        Usage {
            handshakes: places(&self.handshakes),
            strangers: places(&self.strangers),
            connections: places(&self.connections),
            turned_away: self.refused.value() + displaced,
        }
    }

    /// The places of the listener by their kind.
    pub fn places(&self) -> [(&'static str, &Occupancy); 3] {
        [
            ("handshakes", &self.handshakes),
            ("strangers", &self.strangers),
            ("connections", &self.connections),
        ]
    }

    /// What the listener is full of, while it goes on to serve.
    pub fn crowded(&self) -> Option<String> {
        let (kind, places) = self
            .places()
            .into_iter()
            .find(|(_, places)| places.is_full())?;
        Some(format!("all {} places of {kind} are taken", places.total()))
    }

    /// The handshakes that came to nothing, by
    /// [`HandshakeError::code`](crate::tls::HandshakeError::code); one that was never seen is not
    /// listed.
    pub fn reasons(&self) -> Vec<(&'static str, u64)> {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons
            .iter()
            .map(|(code, count)| (*code, *count))
            .collect()
    }

    /// A handshake came to nothing. The codes are a fixed set, so the map is bounded.
    pub fn handshake_failed(&self, error: &HandshakeError) {
        match error {
            HandshakeError::Deadline => self.late.increment(),
            // Counted with the place that it lost.
            HandshakeError::Evicted => {}
            HandshakeError::Failed(_) => self.failed.increment(),
        }
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.entry(error.code()).or_default() += 1;
    }
}

/// How full a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Handshakes under way, and whatever else comes before anything is proved.
    pub handshakes: PlacesTaken,
    /// Peers that are not recognised.
    pub strangers: PlacesTaken,
    /// Everybody else.
    pub connections: PlacesTaken,
    /// Refused, or cut for a later one, since the start.
    pub turned_away: u64,
}

/// Places of one kind; a listener that has none of a kind has a bound of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacesTaken {
    /// Taken now.
    pub taken: usize,
    /// That there are.
    pub bound: usize,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number at this moment.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
