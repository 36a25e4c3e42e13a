//! Who on this node consumes what we hold, and how far each has come.
//!
//! The control plane opens a root rotation's gate by this record, so a consumer stays in it after
//! its stream has ended, until the last credential that it was given has expired: a disconnected
//! Envoy goes on validating with the bundle it has.

pub(crate) mod kept;
mod shares;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_model::Serial;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub(crate) use shares::{Full, Owner};
use shares::{Share, Shares};
use tokio::sync::watch;

/// Most consumers that one node keeps and reports.
pub(crate) const MAX_CONSUMERS: usize = 4_096;
/// Most certificates of one consumer that are told: of a caller with many identities the first.
pub(crate) const MAX_SERIALS: usize = 8;
/// What a consumer is, and so how its progress is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConsumerKind {
    /// Our own proxy.
    Proxy,
    /// An SDS stream: it acknowledges.
    Envoy,
    /// A Workload API stream: delivered, never acknowledged.
    WorkloadApi,
}

/// One consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consumer {
    /// What it is.
    pub(crate) kind: ConsumerKind,
    /// SDS name of the bundle it consumes, if any.
    pub(crate) resource: Option<String>,
    /// The trust bundle version it acknowledged or was delivered.
    pub(crate) bundle_version: Option<String>,
    /// When that was delivered (Workload API).
    pub(crate) delivered_at: Option<Timestamp>,
    /// Whether its stream is open.
    pub(crate) connected: bool,
    /// NotAfter of the newest credential it was given.
    pub(crate) credential_not_after: Option<Timestamp>,
    /// The certificates that it acknowledged or was delivered, at most [`MAX_SERIALS`].
    pub(crate) serials: Vec<Serial>,
}

/// The record of all consumers, by a name that is stable while the consumer lives.
#[derive(Debug)]
pub(crate) struct Consumers {
    consumers: Mutex<BTreeMap<String, Consumer>>,
    open: Mutex<BTreeMap<String, OpenStreams>>,
    shares: Shares,
    changed: watch::Sender<u64>,
}

/// The open streams of one consumer, and its part of the shares.
#[derive(Debug)]
struct OpenStreams {
    streams: usize,
    _shares: Share,
}

impl Default for Consumers {
    fn default() -> Self {
        Self {
            consumers: Mutex::default(),
            open: Mutex::default(),
            shares: Shares::default(),
            changed: watch::channel(0).0,
        }
    }
}

impl Consumers {
    /// Notes that a stream of this consumer is open. One consumer may have several, and a new one
    /// before the old one is seen to have ended: it is connected until the last one ends.
    ///
    /// # Errors
    /// A share is taken, or the record is full.
    pub(crate) fn connect(
        self: &Arc<Self>,
        owner: &Owner,
        id: &str,
        kind: ConsumerKind,
        resource: Option<&str>,
    ) -> Result<ConsumerStream, Full> {
        let new = || Consumer {
            kind,
            resource: resource.map(str::to_owned),
            bundle_version: None,
            delivered_at: None,
            connected: true,
            credential_not_after: None,
            serials: Vec::new(),
        };
        let mut open = lock(&self.open);
        let shares = match open.contains_key(id) {
            true => None,
            false => Some(self.shares.take(owner)?),
        };
        if !self.update(id, new, |consumer| consumer.connected = true) {
            return Err(Full::Record);
        }
        if let Some(shares) = shares {
            let first = OpenStreams {
                streams: 0,
                _shares: shares,
            };
            open.insert(id.to_owned(), first);
        }
        if let Some(open) = open.get_mut(id) {
            open.streams += 1;
        }
        Ok(ConsumerStream {
            consumers: self.clone(),
            id: id.to_owned(),
        })
    }

    fn disconnect(&self, id: &str) {
        let mut open = lock(&self.open);
        if let Some(open) = open.get_mut(id)
            && open.streams > 1
        {
            open.streams -= 1;
            return;
        }
        open.remove(id);
        self.change(id, |consumer| consumer.connected = false);
    }

    /// Changes a consumer that is in the record.
    fn change(&self, id: &str, change: impl FnOnce(&mut Consumer)) {
        let mut consumers = lock(&self.consumers);
        let Some(consumer) = consumers.get_mut(id) else {
            return;
        };
        let before = consumer.clone();
        change(consumer);
        if before != *consumer {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// Changes a consumer, or adds it first. Returns false where the record is full.
    pub(crate) fn update(
        &self,
        id: &str,
        new: impl FnOnce() -> Consumer,
        change: impl FnOnce(&mut Consumer),
    ) -> bool {
        let mut consumers = lock(&self.consumers);
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
    pub(crate) fn forget_expired(&self, now: Timestamp) {
        let mut consumers = lock(&self.consumers);
        let before = consumers.len();
        consumers
            .retain(|_, c| c.connected || c.credential_not_after.is_some_and(|end| end >= now));
        if consumers.len() != before {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// Makes one of all who are disconnected and came equally far, so that a caller which starts
    /// a process for each fetch cannot fill the record. The gate of a rotation sees no difference.
    pub(crate) fn fold_disconnected(&self) {
        fold(&mut lock(&self.consumers));
        self.changed.send_modify(|n| *n += 1);
    }

    /// Everybody, by name.
    pub(crate) fn all(&self) -> BTreeMap<String, Consumer> {
        lock(&self.consumers).clone()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        lock(&self.consumers).len()
    }

    /// Changes whenever the record does.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// Makes one of all who are disconnected and came equally far.
fn fold(consumers: &mut BTreeMap<String, Consumer>) {
    for (id, consumer) in std::mem::take(consumers) {
        if consumer.connected {
            consumers.insert(id, consumer);
            continue;
        }
        let version = consumer.bundle_version.as_deref().unwrap_or_default();
        let resource = consumer.resource.as_deref().unwrap_or_default();
        let past = format!("past:{:?}:{resource}:{version}", consumer.kind);
        let folded = consumers.entry(past).or_insert_with(|| consumer.clone());
        folded.delivered_at = folded.delivered_at.max(consumer.delivered_at);
        folded.credential_not_after = folded
            .credential_not_after
            .max(consumer.credential_not_after);
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open stream of a consumer. Dropping it says that the stream has ended.
#[derive(Debug)]
pub(crate) struct ConsumerStream {
    consumers: Arc<Consumers>,
    id: String,
}

impl ConsumerStream {
    /// Notes what the consumer has come to.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Consumer)) {
        self.consumers.change(&self.id, change);
    }
}

impl Drop for ConsumerStream {
    fn drop(&mut self) {
        self.consumers.disconnect(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use countersign_serve::places::Holder;

    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    fn owner(uid: u32, process: &str) -> Owner {
        Owner {
            holder: Holder::Uid(uid),
            process: process.into(),
        }
    }

    fn pass(consumers: &Arc<Consumers>, id: &str, version: &str, end: i64) {
        let connection = consumers
            .connect(
                &owner(1, id),
                id,
                ConsumerKind::WorkloadApi,
                Some("spiffe://example.org"),
            )
            .unwrap();
        connection.note(|consumer| {
            consumer.bundle_version = Some(version.to_owned());
            consumer.credential_not_after = at(end);
        });
    }

    #[test]
    fn a_consumer_is_connected_until_its_last_stream_ends() {
        let consumers = Arc::new(Consumers::default());
        let connect = || {
            consumers
                .connect(&owner(1, "a"), "a", ConsumerKind::Envoy, Some("ROOTCA"))
                .unwrap()
        };
        let (first, second) = (connect(), connect());
        drop(first);
        assert!(consumers.all()["a"].connected);
        drop(second);
        assert!(!consumers.all()["a"].connected);
    }

    #[test]
    fn short_lived_callers_fold_into_one() {
        let consumers = Arc::new(Consumers::default());
        for pid in 0..MAX_CONSUMERS {
            let end = i64::try_from(pid).unwrap();
            pass(&consumers, &pid.to_string(), "v1", end);
        }
        let next = || consumers.connect(&owner(1, "next"), "next", ConsumerKind::Proxy, None);
        assert_eq!(next().unwrap_err(), Full::Record);
        consumers.fold_disconnected();
        let open = next().unwrap();
        pass(&consumers, "late", "v2", 1);
        consumers.fold_disconnected();
        let all = consumers.all();
        assert_eq!(all.len(), 3, "v1, v2 and the open one");
        assert!(all.contains_key("next"));
        let v1 = all
            .values()
            .find(|c| c.bundle_version.as_deref() == Some("v1"));
        let last = i64::try_from(MAX_CONSUMERS).unwrap() - 1;
        assert_eq!(v1.unwrap().credential_not_after, at(last));
        drop(open);
    }
}
