//! What each control plane of a database says of itself now and then, for operators: that it is there, how
//! far it has come, and what runs. Nothing is decided by it.

use std::sync::atomic::Ordering;

use countersign_telemetry::{Principal, peer_line};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Authority;
use super::state::{Change, Heartbeat};
use crate::series::Alarm;

/// How often it is said.
const EVERY: SignedDuration = SignedDuration::from_secs(5);

impl Authority {
    /// Says it, where it is time. What the database does not take is said the next time.
    pub(super) async fn say_heartbeat(&self, now: Timestamp) {
        let replica = self.settings.replica();
        if replica.is_empty() || !self.is_heartbeat_due(now) {
            return;
        }
        let said = Change::Heartbeat(replica.to_owned(), Some(self.own_heartbeat(now)));
        match self.change_unlogged(vec![said], Vec::new()).await {
            // As often it is looked whether another one raised the level.
            Ok(_) => self.look_at_levels().await,
            Err(error) => {
                let store = Principal::part("heartbeat");
                peer_line!(DEBUG, store, %error, "nothing was said of this control plane to the others");
            }
        }
    }

    /// What is so of this control plane.
    pub(super) fn own_heartbeat(&self, now: Timestamp) -> Heartbeat {
        Heartbeat {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sequence: self.state.sequence(),
            streams: self.state.hub().count() as u64,
            at: now,
            address: self.settings.advertise.clone(),
            certifies: Some(self.certifies()),
            fenced_at: None,
        }
    }

    /// Whether the key above issuing CAs is here.
    fn certifies(&self) -> bool {
        let cas = self.hierarchy.read();
        cas.lowest().is_some_and(|it| cas.key(&it.key_id).is_some())
    }

    /// By the clock, which may go back.
    fn is_heartbeat_due(&self, now: Timestamp) -> bool {
        let last = self.said_at.load(Ordering::Acquire);
        let last = Timestamp::from_second(last).unwrap_or_default();
        let is_due = now.duration_since(last).abs() >= EVERY;
        if is_due {
            self.said_at.store(now.as_second(), Ordering::Release);
        }
        is_due
    }

    /// A node attested at another control plane while its holder is connected here: that one does not see
    /// the stream.
    pub(super) fn look_for_two_holders(&self, change: &Change) {
        let Change::Node(node, Some(stored)) = change else {
            return;
        };
        if stored.is_evicted() || !self.state.hub().is_connected(node) {
            return;
        }
        self.metrics.alarm(Alarm::NodeConnected);
        let principal = Principal::part("attestation alarms");
        peer_line!(WARN, principal, %node, "alarm: a node attested at another control plane while its holder is connected");
    }

    /// Another control plane made a commit.
    pub(super) fn hear(&self, writer: Option<&str>) {
        if let Some(writer) = writer {
            self.state.write().replicas.hear(writer, self.told_now());
        }
    }

    /// Why nothing is ended by time now, for people: of two clocks that differ one is wrong, and this one
    /// may be it. What has ended is issued for nowhere meanwhile, by the clock of each.
    pub(crate) fn clocks_differ(&self, now: Timestamp) -> Option<String> {
        let state = self.state.read();
        let (replica, ahead) = state.replicas.other_clock(now, Instant::now())?;
        let (seconds, way) = match ahead.as_secs() {
            ahead @ 0.. => (ahead, "ahead of"),
            behind => (-behind, "behind"),
        };
        Some(format!(
            "clocks_differ: the clock of control plane {replica} is {seconds} s {way} that of this \
             one. No registration, token or CA is removed because its time is over until they \
             agree: set the clock that is wrong, and have both follow a time server"
        ))
    }

    /// Whether this control plane removes what only time ends: the first by name of those that are there
    /// does, so that not all log the same. Two that both think so do no harm: one of them is overtaken.
    pub(super) fn ends_by_time(&self, now: Timestamp) -> bool {
        let own = self.settings.replica();
        let is_first = { self.state.read() }.replicas.is_first(own, Instant::now());
        is_first && self.clocks_differ(now).is_none()
    }
}
