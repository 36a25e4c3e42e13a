//! Traffic through a mesh, and the count of what was lost.
//!
//! Nothing is tried twice: a request that was sent and not answered by 200 with its own content
//! is a failed one, and a long-lived connection that ends before the load does is a dropped one.

pub mod client;
pub mod probe;
pub mod service;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most failures that are kept with their reason.
const MAX_REASONS: usize = 20;
/// Long-lived HTTP connections on each route.
const KEPT_CONNECTIONS: usize = 3;
/// Long-lived byte streams on each route.
const STREAMS: usize = 2;

/// A way to the service, in plaintext on loopback.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in reasons.
    pub name: &'static str,
    /// Where long-lived HTTP connections go.
    pub http: SocketAddr,
    /// Where new connections and byte streams go: every connection here is a handshake.
    pub tcp: SocketAddr,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests that were answered with their own content.
    pub requests_ok: u64,
    /// All other requests.
    pub requests_failed: u64,
    /// Connections that were opened, of every kind.
    pub connections_opened: u64,
    /// Long-lived connections that ended other than by the client.
    pub connections_dropped: u64,
}

impl Tally {
    /// Whether anything was lost.
    pub fn is_lossless(&self) -> bool {
        self.requests_failed == 0 && self.connections_dropped == 0
    }
}

/// Counters that all drivers share.
#[derive(Debug, Default)]
pub struct Counters {
    requests_ok: AtomicU64,
    requests_failed: AtomicU64,
    connections_opened: AtomicU64,
    connections_dropped: AtomicU64,
    reasons: Mutex<VecDeque<String>>,
}

impl Counters {
    /// A request ended.
    pub fn request(&self, route: &str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => {
                self.requests_ok.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.requests_failed.fetch_add(1, Ordering::Relaxed);
                self.note_reason(&format!("{route}: request failed: {error:#}"));
            }
        }
    }

    /// A connection was opened.
    pub fn opened(&self) {
        self.connections_opened.fetch_add(1, Ordering::Relaxed);
    }

    /// A long-lived connection ended other than by us.
    pub fn dropped(&self, route: &str, reason: &str) {
        self.connections_dropped.fetch_add(1, Ordering::Relaxed);
        self.note_reason(&format!("{route}: connection dropped: {reason}"));
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            requests_ok: read(&self.requests_ok),
            requests_failed: read(&self.requests_failed),
            connections_opened: read(&self.connections_opened),
            connections_dropped: read(&self.connections_dropped),
        }
    }

    fn note_reason(&self, reason: &str) {
        let mut reasons = self
            .reasons
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if reasons.len() < MAX_REASONS {
            let at = crate::clock::now();
            reasons.push_back(format!("{at} {reason}"));
        }
    }
}

/// Running drivers.
#[derive(Debug)]
pub struct Load {
    counters: Arc<Counters>,
    stop: CancellationToken,
    drivers: JoinSet<()>,
}

impl Load {
    /// Drives traffic over every route until [`Load::stop`].
    pub fn start(routes: &[Route]) -> Self {
        let mut load = Self {
            counters: Arc::default(),
            stop: CancellationToken::new(),
            drivers: JoinSet::new(),
        };
        for route in routes {
            load.drive(client::new_connections(
                load.counters(),
                load.stop_signal(),
                route.clone(),
            ));
            for _ in 0..KEPT_CONNECTIONS {
                load.drive(client::kept_connection(
                    load.counters(),
                    load.stop_signal(),
                    route.clone(),
                ));
            }
            for _ in 0..STREAMS {
                load.drive(client::byte_stream(
                    load.counters(),
                    load.stop_signal(),
                    route.clone(),
                ));
            }
        }
        load
    }

    /// Adds a driver, which ends when told so.
    pub fn drive(&mut self, driver: impl Future<Output = ()> + Send + 'static) {
        self.drivers.spawn(driver);
    }

    /// The counters, for a further driver.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Cancelled when the load ends.
    pub fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The counts so far.
    pub fn tally(&self) -> Tally {
        self.counters.tally()
    }

    /// Why the first requests and connections were lost.
    pub fn reasons(&self) -> Vec<String> {
        let reasons = self
            .counters
            .reasons
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        reasons.iter().cloned().collect()
    }

    /// Ends all drivers, each after the request that it is in.
    pub async fn stop(mut self) -> (Tally, Vec<String>) {
        self.stop.cancel();
        while self.drivers.join_next().await.is_some() {}
        (self.tally(), self.reasons())
    }
}
