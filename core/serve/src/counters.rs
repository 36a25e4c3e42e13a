//! What became of the connections of a listener, for its metrics.

mod series;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

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
    /// Handshakes cut because too many were under way.
    pub evicted: Count,
    /// Closed at once: too many connections, or not admitted.
    pub refused: Count,
    reasons: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counters {
    /// Every count with its word for metric labels.
    pub fn results(&self) -> [(&'static str, u64); 5] {
        [
            ("served", self.served.value()),
            ("late", self.late.value()),
            ("failed", self.failed.value()),
            ("evicted", self.evicted.value()),
            ("refused", self.refused.value()),
        ]
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
    pub(crate) fn handshake_failed(&self, error: &HandshakeError) {
        match error {
            HandshakeError::Deadline => self.late.increment(),
            HandshakeError::Evicted => self.evicted.increment(),
            HandshakeError::Failed(_) => self.failed.increment(),
        }
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        *reasons.entry(error.code()).or_default() += 1;
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub(crate) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number at this moment.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
