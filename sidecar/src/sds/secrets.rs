//! Encoded secrets, shared by all streams that are sent the same one.
//!
//! A hundred streams of one Envoy, or five thousand, hold one copy. What is no longer held by this
//! node is dropped here with the next secret that is made, so no old key lingers.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use countersign_discovery::Resource;
use countersign_envoy::SECRET_TYPE;

use crate::holdings::Snapshot;

/// Secrets by name and version.
#[derive(Default)]
pub(crate) struct Secrets(Mutex<Cache>);

#[derive(Default)]
struct Cache {
    generation: u64,
    secrets: HashMap<(String, String), Resource>,
}

impl Secrets {
    /// The secret of that name and version, made by `body` if nobody asked for it before.
    pub(super) fn resource(
        &self,
        snapshot: &Snapshot,
        name: &str,
        version: String,
        body: impl FnOnce() -> Bytes,
    ) -> Resource {
        let mut cache = self.lock();
        cache.prune(snapshot);
        let key = (name.to_owned(), version);
        if let Some(resource) = cache.secrets.get(&key) {
            return resource.clone();
        }
        let resource = Resource::versioned(SECRET_TYPE, name, &key.1, body());
        cache.secrets.insert(key, resource.clone());
        resource
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Keeps what the newest snapshot holds, which also bounds the cache.
    fn prune(&mut self, snapshot: &Snapshot) {
        if snapshot.generation <= self.generation {
            return;
        }
        self.generation = snapshot.generation;
        let svids = snapshot.entries.values().filter_map(|e| e.svid.as_ref());
        let bundle = snapshot.bundle.iter().map(|b| b.version().to_owned());
        let live: HashSet<String> = svids.map(|s| s.serial.to_string()).chain(bundle).collect();
        self.secrets
            .retain(|(_, version), _| live.contains(version));
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cached = self.lock().secrets.len();
        f.debug_struct("Secrets")
            .field("cached", &cached)
            .finish_non_exhaustive()
    }
}
