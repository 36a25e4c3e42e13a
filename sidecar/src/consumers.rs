//! Who on this node consumes what we hold, and how far each has come.
//!
//! The control plane opens a root rotation's gate by this record, so a consumer stays in it after
//! its stream has ended, until the last credential that it was given has expired: a disconnected
//! Envoy goes on validating with the bundle it has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use countersign_serve::places::{Bounds, Holder, Place, Places, Surplus};
use jiff::Timestamp;
use tokio::sync::watch;

/// Most consumers that one node keeps and reports.
pub const MAX_CONSUMERS: usize = 4_096;
/// Most of them that are open at once of one uid: an Envoy with 1 000 secrets of another finds room.
pub const MAX_CONSUMERS_PER_UID: usize = 2_560;
/// Most of them that are open at once of one process: an Envoy with 1 000 secrets and their contexts.
pub const MAX_CONSUMERS_PER_PROCESS: usize = 1_536;

/// Whose a consumer is.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The uid, by the kernel's word.
    pub uid: u32,
    /// The process, by a name that no other has.
    pub process: Arc<str>,
}

/// Why a consumer is not taken in. It must not be served: a root rotation would not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Its process has its share.
    #[error("this process has too many consumers")]
    Process,
    /// Its uid has its share.
    #[error("this user has too many consumers")]
    Uid,
    /// There are as many as a node can report.
    #[error("too many consumers on this node")]
    Record,
}

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
    open: Mutex<BTreeMap<String, Open>>,
    uids: Places,
    processes: Places,
    changed: watch::Sender<u64>,
}

/// The open streams of one consumer, and its places.
#[derive(Debug)]
struct Open {
    streams: usize,
    _uid: Place,
    _process: Place,
}

fn shares(each: usize) -> Places {
    Places::new(Bounds {
        total: MAX_CONSUMERS,
        each,
        surplus: Surplus::Refused,
    })
}

impl Default for Consumers {
    fn default() -> Self {
        Self {
            consumers: Mutex::default(),
            open: Mutex::default(),
            uids: shares(MAX_CONSUMERS_PER_UID),
            processes: shares(MAX_CONSUMERS_PER_PROCESS),
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
    pub fn connect(
        self: &Arc<Self>,
        owner: &Owner,
        id: &str,
        kind: ConsumerKind,
        resource: &str,
    ) -> Result<Connection, Full> {
        let new = || Consumer {
            kind,
            resource: resource.to_owned(),
            bundle_version: None,
            delivered_at: None,
            connected: true,
            credential_not_after: None,
        };
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let places = match open.contains_key(id) {
            true => None,
            false => Some(self.places(owner)?),
        };
        if !self.update(id, new, |consumer| consumer.connected = true) {
            return Err(Full::Record);
        }
        if let Some(places) = places {
            open.insert(id.to_owned(), places);
        }
        if let Some(open) = open.get_mut(id) {
            open.streams += 1;
        }
        Ok(Connection {
            consumers: self.clone(),
            id: id.to_owned(),
        })
    }

    /// The places of a consumer whose first stream comes.
    fn places(&self, owner: &Owner) -> Result<Open, Full> {
        let process = self.processes.take(Holder::Process(owner.process.clone()));
        let uid = self.uids.take(Holder::Uid(owner.uid));
        Ok(Open {
            streams: 0,
            _process: process.ok_or(Full::Process)?,
            _uid: uid.ok_or(Full::Uid)?,
        })
    }

    fn disconnect(&self, id: &str) {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
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
        let mut consumers = self
            .consumers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
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

    /// Makes one of all who are disconnected and came equally far, so that a caller which starts
    /// a process for each fetch cannot fill the record. The gate of a rotation sees no difference.
    pub fn fold_disconnected(&self) {
        let mut consumers = self
            .consumers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let everybody = std::mem::take(&mut *consumers);
        for (id, consumer) in everybody {
            if consumer.connected {
                consumers.insert(id, consumer);
                continue;
            }
            let version = consumer.bundle_version.as_deref().unwrap_or_default();
            let past = format!("past:{:?}:{}:{version}", consumer.kind, consumer.resource);
            let folded = consumers.entry(past).or_insert_with(|| consumer.clone());
            folded.delivered_at = folded.delivered_at.max(consumer.delivered_at);
            folded.credential_not_after = folded
                .credential_not_after
                .max(consumer.credential_not_after);
        }
        self.changed.send_modify(|n| *n += 1);
    }

    /// Everybody, by name.
    pub fn all(&self) -> BTreeMap<String, Consumer> {
        self.consumers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.consumers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .len()
    }

    /// Changes whenever the record does.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// An open stream of a consumer. Dropping it says that the stream has ended.
#[derive(Debug)]
pub struct Connection {
    consumers: Arc<Consumers>,
    id: String,
}

impl Connection {
    /// Notes what the consumer has come to.
    pub fn note(&self, change: impl FnOnce(&mut Consumer)) {
        self.consumers.change(&self.id, change);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.consumers.disconnect(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    fn owner(uid: u32, process: &str) -> Owner {
        Owner {
            uid,
            process: process.into(),
        }
    }

    /// As many as the process gets, up to a bound.
    fn take(consumers: &Arc<Consumers>, owner: &Owner, most: usize) -> (Vec<Connection>, Full) {
        let mut open = Vec::new();
        for number in 0..most {
            let id = format!("{}:{}:{number}", owner.uid, owner.process);
            match consumers.connect(owner, &id, ConsumerKind::Envoy, "") {
                Ok(connection) => open.push(connection),
                Err(full) => return (open, full),
            }
        }
        (open, Full::Record)
    }

    /// An Envoy with 1 000 secrets.
    const ENVOY: usize = 1_001;

    #[test]
    fn one_process_leaves_its_user_some_consumers() {
        let consumers = Arc::new(Consumers::default());
        let (greedy, full) = take(&consumers, &owner(1, "greedy"), MAX_CONSUMERS);
        assert_eq!(
            (greedy.len(), full),
            (MAX_CONSUMERS_PER_PROCESS, Full::Process)
        );
        let (envoy, _) = take(&consumers, &owner(1, "envoy"), ENVOY);
        assert_eq!(envoy.len(), ENVOY);
    }

    #[test]
    fn one_user_leaves_others_some_consumers() {
        let consumers = Arc::new(Consumers::default());
        let mut greedy = Vec::new();
        let full = (0..MAX_CONSUMERS).find_map(|process| {
            let (open, _) = take(&consumers, &owner(1, &process.to_string()), 1);
            let is_full = open.is_empty();
            greedy.extend(open);
            is_full.then_some(greedy.len())
        });
        assert_eq!(full, Some(MAX_CONSUMERS_PER_UID));
        let (envoy, _) = take(&consumers, &owner(2, "envoy"), ENVOY);
        assert_eq!(envoy.len(), ENVOY);
        drop(greedy);
        consumers.fold_disconnected();
        let (again, _) = take(&consumers, &owner(1, "again"), ENVOY);
        assert_eq!(again.len(), ENVOY, "places come back");
    }

    fn pass(consumers: &Arc<Consumers>, id: &str, version: &str, end: i64) {
        let connection = consumers
            .connect(
                &owner(1, id),
                id,
                ConsumerKind::WorkloadApi,
                "spiffe://example.org",
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
                .connect(&owner(1, "a"), "a", ConsumerKind::Envoy, "ROOTCA")
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
        let next = || consumers.connect(&owner(1, "next"), "next", ConsumerKind::Proxy, "");
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
