//! The owner of the CAs: which there are, their keys, and the bundle that consumers trust.

use std::ops::Deref;
use std::sync::{Arc, RwLockReadGuard};

use arc_swap::ArcSwapOption;
use countersign_ca::key::StoreKind;
use countersign_keys::Stores;
use countersign_verify::TrustBundle;
use jiff::{SignedDuration, Timestamp};

use crate::ca_requests::CaRequests;
use crate::ca_set::CaSet;
use crate::lock::{Locked, Ordered, Place};
use crate::refused_keys::Refused;
use crate::rollback::Undestroyed;

/// Where the keys on disk are, within the data directory.
pub(crate) const KEYS: &str = "keys";

/// How often the key stores are asked for the keys of shared CAs: a token may be far away.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// The CAs and what belongs to them.
#[derive(Debug)]
pub(crate) struct CaHierarchy {
    stores: Stores,
    cas: Ordered<Held>,
    /// With its sequence. Read at every handshake, so without a lock.
    bundle: ArcSwapOption<(Arc<TrustBundle>, u64)>,
    refused_keys: Refused,
}

#[derive(Debug)]
struct Held {
    set: CaSet,
    undestroyed: Undestroyed,
    requests: CaRequests,
    /// When it was looked for the keys of shared CAs.
    looked_at: Option<Timestamp>,
    /// Whether it was said that a CA is not valid yet by the clock.
    is_clock_told: bool,
    /// The intermediate whose end was spoken of last.
    reminded_of: Option<String>,
}

/// The CAs, to read.
#[derive(Debug)]
pub(crate) struct ReadCas<'a>(Locked<RwLockReadGuard<'a, Held>>);

impl Deref for ReadCas<'_> {
    type Target = CaSet;

    fn deref(&self) -> &CaSet {
        &self.0.set
    }
}

impl CaHierarchy {
    /// These CAs, without their keys.
    pub(crate) fn new(stores: Stores, refused_keys: Refused, set: CaSet) -> Self {
        let held = Held {
            set,
            undestroyed: Undestroyed::default(),
            requests: CaRequests::default(),
            looked_at: None,
            is_clock_told: false,
            reminded_of: None,
        };
        Self {
            stores,
            cas: Ordered::new(Place::Cas, held),
            bundle: ArcSwapOption::empty(),
            refused_keys,
        }
    }

    /// Where keys are made and kept.
    pub(crate) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Which keys no caller may have certified.
    pub(crate) fn refused_keys(&self) -> &Refused {
        &self.refused_keys
    }

    /// The bundle and its sequence, once there is one.
    pub(crate) fn bundle(&self) -> Option<(Arc<TrustBundle>, u64)> {
        let installed = self.bundle.load_full()?;
        let (bundle, sequence) = &*installed;
        Some((bundle.clone(), *sequence))
    }

    /// Shows a new bundle.
    pub(crate) fn show_bundle(&self, bundle: TrustBundle, sequence: u64) {
        let shown = (Arc::new(bundle), sequence);
        self.bundle.store(Some(Arc::new(shown)));
    }

    /// The CAs, to read.
    pub(crate) fn read(&self) -> ReadCas<'_> {
        ReadCas(self.cas.read())
    }

    /// Changes the CAs where they are: what is not stored of them.
    pub(crate) fn update<T>(&self, what: impl FnOnce(&mut CaSet) -> T) -> T {
        what(&mut self.cas.write().set)
    }

    /// The requests of replicas for issuing CAs.
    pub(crate) fn requests<T>(&self, what: impl FnOnce(&mut CaRequests) -> T) -> T {
        what(&mut self.cas.write().requests)
    }

    /// Whether it is time to look for the keys of shared CAs again: it is noted as done.
    pub(crate) fn looks_for_keys(&self, now: Timestamp) -> bool {
        let last = &mut self.cas.write().looked_at;
        let is_due = last.is_none_or(|last| now.duration_since(last).abs() >= LOOK_EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }

    /// Takes these CAs in place of those before. `finish` is told of those, under the same lock.
    pub(crate) fn replace(&self, mut next: CaSet, finish: impl FnOnce(&mut CaSet, &CaSet)) {
        let mut held = self.cas.write();
        finish(&mut next, &held.set);
        self.refused_keys.note_cas(next.key_ids());
        held.set = next;
    }

    /// Notes whether a CA is not valid yet by the clock, and says whether it was noted before.
    pub(crate) fn clock_was_told(&self, is_wrong: bool) -> bool {
        std::mem::replace(&mut self.cas.write().is_clock_told, is_wrong)
    }

    /// Whether the end of this intermediate was not spoken of yet: it is now.
    pub(crate) fn reminds_of(&self, key_id: &str) -> bool {
        let spoken_of = &mut self.cas.write().reminded_of;
        let is_new = spoken_of.as_deref() != Some(key_id);
        if is_new {
            *spoken_of = Some(key_id.to_owned());
        }
        is_new
    }

    /// The intermediate whose end was spoken of last.
    #[cfg(test)]
    pub(crate) fn reminded_of(&self) -> Option<String> {
        self.cas.read().reminded_of.clone()
    }

    /// A key may not sign any more and was not destroyed. `index` is where its certificate is in the
    /// log.
    pub(crate) fn not_destroyed(&self, store: StoreKind, key_id: &str, index: Option<u64>) {
        self.cas.write().undestroyed.note(store, key_id, index);
    }

    /// A key was destroyed at last.
    pub(crate) fn destroyed(&self, store: StoreKind, key_id: &str) {
        self.cas.write().undestroyed.remove(store, key_id);
    }

    /// The keys that are still to be destroyed.
    pub(crate) fn undestroyed(&self) -> Vec<(StoreKind, String)> {
        self.cas.read().undestroyed.keys()
    }

    /// The next start must read the log from here on, at least.
    pub(crate) fn first_undestroyed(&self) -> Option<u64> {
        self.cas.read().undestroyed.first_index()
    }
}
