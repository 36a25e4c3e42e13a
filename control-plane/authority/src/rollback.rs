//! What is made for a change of the CAs and comes to nothing: keys and certificates.
//!
//! A change works on a copy of the CAs. Until that is stored, the copy names every key that was
//! made for it: where the change fails, each is destroyed in its key store and its certificate is
//! void. Where the store cannot say whether it kept the change, nothing is destroyed: the next
//! start knows ([`super::undelivered`]). A key that its store does not destroy now is
//! tried again with every tick, and where its certificate is in the log also by the next starts.

use std::collections::BTreeMap;

use countersign_ca::key::StoreKind;
use countersign_fleet::Event;
use jiff::Timestamp;
use tracing::{error, info, warn};

use super::ca_set::{CaSet, HeldKey, Made};
use super::undelivered::Undelivered;
use super::{Authority, AuthorityError};

/// Most keys whose destruction is tried again; of others the log alone knows.
const MAX_UNDESTROYED: usize = 1_024;

/// Keys that their stores did not destroy, and where the certificate of each is in the log.
#[derive(Debug, Default)]
pub(super) struct Undestroyed(BTreeMap<(StoreKind, String), Option<u64>>);

impl Undestroyed {
    pub(super) fn note(&mut self, store: StoreKind, key_id: &str, index: Option<u64>) {
        let key = (store, key_id.to_owned());
        if self.0.len() < MAX_UNDESTROYED || self.0.contains_key(&key) {
            self.0.insert(key, index);
        }
    }

    pub(super) fn remove(&mut self, store: StoreKind, key_id: &str) {
        self.0.remove(&(store, key_id.to_owned()));
    }

    pub(super) fn keys(&self) -> Vec<(StoreKind, String)> {
        self.0.keys().cloned().collect()
    }

    /// The next start must read the log from here on, at least.
    pub(super) fn first_index(&self) -> Option<u64> {
        self.0.values().flatten().min().copied()
    }
}

impl Authority {
    /// Makes a key for a copy of the CAs.
    pub(super) fn make_key(
        &self,
        next: &mut CaSet,
        store: StoreKind,
    ) -> Result<HeldKey, AuthorityError> {
        let held = self.create_key(store)?;
        next.made.push(Made {
            key_id: held.key.key_id().to_owned(),
            held: Some(held.clone()),
            signed: None,
        });
        Ok(held)
    }

    /// Stores and shows a copy of the CAs in which everything was `made` that it needs; unmakes
    /// what was made for it where that or this fails.
    pub(super) async fn replace<T>(
        &self,
        made: Result<T, AuthorityError>,
        mut next: CaSet,
        changes: impl IntoIterator<Item = Event> + Send + 'static,
        now: Timestamp,
    ) -> Result<T, AuthorityError> {
        let for_it = std::mem::take(&mut next.made);
        let stored = match made {
            Ok(value) => { self.store_cas(next, changes, now).await }.map(|()| value),
            Err(error) => Err(error.into()),
        };
        match stored {
            Ok(value) => {
                let certified = for_it.iter().filter_map(|made| made.signed.as_ref());
                certified.for_each(|signed| self.ledger.delivered(signed));
                Ok(value)
            }
            Err(failed) if failed.is_open => {
                warn!("whether the CAs have changed is known after the next start");
                Err(failed.into())
            }
            Err(failed) => {
                self.roll_back(for_it, now).await;
                Err(failed.into())
            }
        }
    }

    async fn roll_back(&self, made: Vec<Made>, now: Timestamp) {
        for Made {
            key_id,
            held,
            signed,
        } in made
        {
            let index = signed.as_ref().map(|it| it.issuance().serial.index());
            if let Some(held) = held {
                self.destroy_key(held.store, &key_id, index);
            }
            if let Some(signed) = signed {
                self.void_undelivered(Undelivered::of(signed.issuance()), now)
                    .await;
            }
        }
    }

    pub(super) fn destroy(&self, HeldKey { store, key }: &HeldKey) {
        self.destroy_key(*store, key.key_id(), None);
    }

    /// A key that is not destroyed can sign nothing here, so what was done stays done; it is tried
    /// again. `index` is where its certificate is in the log.
    pub(super) fn destroy_key(&self, store: StoreKind, key_id: &str, index: Option<u64>) {
        if let Err(error) = self.hierarchy.stores().destroy(store, key_id) {
            error!(key_id, %store, %error, "a key that may not sign was not destroyed");
            self.hierarchy.not_destroyed(store, key_id, index);
        }
    }

    /// The same once the store can be used.
    pub(super) fn destroy_when_ready(&self, store: StoreKind, key_id: &str, index: Option<u64>) {
        if self.is_ready(store) {
            self.destroy_key(store, key_id, index);
        } else {
            self.hierarchy.not_destroyed(store, key_id, index);
        }
    }

    /// The same without waiting for a device: that is asked with the next tick.
    pub(super) fn destroy_soon(&self, HeldKey { store, key }: &HeldKey) {
        match store {
            StoreKind::Disk | StoreKind::Memory => self.destroy_key(*store, key.key_id(), None),
            StoreKind::Pkcs11 => self.hierarchy.not_destroyed(*store, key.key_id(), None),
        }
    }

    /// Tries again what was not destroyed. A store that fails is left alone until the next time.
    pub(super) fn destroy_pending(&self) {
        let pending = self.hierarchy.undestroyed();
        let mut failing = None;
        for (store, key_id) in pending {
            if failing == Some(store) || !self.is_ready(store) {
                continue;
            }
            match self.hierarchy.stores().destroy(store, &key_id) {
                Ok(()) => {
                    info!(key_id, %store, "a key that may not sign was destroyed at last");
                    self.hierarchy.destroyed(store, &key_id);
                }
                Err(error) => {
                    error!(key_id, %store, %error, "a key that may not sign was not destroyed");
                    failing = Some(store);
                }
            }
        }
    }

    /// Makes a key in a store.
    pub(super) fn create_key(&self, store: StoreKind) -> Result<HeldKey, AuthorityError> {
        let key = self.hierarchy.stores().create(store)?;
        Ok(HeldKey { store, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_beyond_the_bound_are_not_remembered() {
        let mut undestroyed = Undestroyed::default();
        for index in 0..MAX_UNDESTROYED as u64 + 10 {
            undestroyed.note(StoreKind::Disk, &format!("{index}"), Some(index + 5));
        }
        assert_eq!(undestroyed.0.len(), MAX_UNDESTROYED);
        assert_eq!(undestroyed.first_index(), Some(5));
    }
}
