//! Who on this node consumes what we hold, and how far each has come.
//!
//! The control plane opens a root rotation's gate by this record, so a consumer stays in it after
//! its stream has ended, until the last credential that it was given has expired: a disconnected
//! Envoy goes on validating with the bundle it has.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use tokio::sync::watch;

/// Most consumers that one node keeps and reports.
pub const MAX_CONSUMERS: usize = 4_096;

/// What a consumer is, and so how its progress is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerKind {
    /// Our own proxy.
    Proxy,
    /// An SDS stream: it acknowledges.
    Envoy,
    /// A Workload API stream: delivered, never acknowledged.
    WorkloadApi,
}

/// One consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// What it is.
    pub kind: ConsumerKind,
    /// SDS name of the bundle it consumes; empty where it consumes none.
    pub resource: String,
    /// The trust bundle version it acknowledged or was delivered.
    pub bundle_version: Option<String>,
    /// When that was delivered (Workload API).
    pub delivered_at: Option<Timestamp>,
    /// Whether its stream is open.
    pub connected: bool,
    /// NotAfter of the newest credential it was given.
    pub credential_not_after: Option<Timestamp>,
}

/// The record of all consumers, by a name that is stable while the consumer lives.
#[derive(Debug)]
pub struct Consumers {
    consumers: Mutex<BTreeMap<String, Consumer>>,
    changed: watch::Sender<u64>,
}

impl Default for Consumers {
    fn default() -> Self {
        Self {
            consumers: Mutex::default(),
            changed: watch::channel(0).0,
        }
    }
}

impl Consumers {
    /// Changes a consumer, or adds it first. Returns false where the record is full.
    pub fn update(
        &self,
        id: &str,
        new: impl FnOnce() -> Consumer,
        change: impl FnOnce(&mut Consumer),
    ) -> bool {
        let mut consumers = self
            .consumers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !consumers.contains_key(id) && consumers.len() >= MAX_CONSUMERS {
            return false;
        }
        let consumer = consumers.entry(id.to_owned()).or_insert_with(new);
        let before = consumer.clone();
        change(consumer);
        if before != *consumer {
            self.changed.send_modify(|n| *n += 1);
        }
        true
    }

    /// Drops who is disconnected and holds nothing that is still valid at `now`.
    pub fn forget_expired(&self, now: Timestamp) {
        let mut consumers = self
            .consumers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = consumers.len();
        consumers
            .retain(|_, c| c.connected || c.credential_not_after.is_some_and(|end| end >= now));
        if consumers.len() != before {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// Everybody, by name.
    pub fn all(&self) -> BTreeMap<String, Consumer> {
        self.consumers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Changes whenever the record does.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
