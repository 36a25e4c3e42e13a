//! The key stores of this control plane: which tier makes its keys where, and what was done there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use zeroize::Zeroizing;

use super::deadline::{self, DeadlineKeyStore};
use super::memory::MemoryKeys;
use super::pkcs11::Pkcs11Keys;
use super::series::{KeyOperation, KeyStoreSeries};
use super::{
    CaKey, Condition, DiskKeys, KeyError, KeyStore, Pkcs11Settings, StoreKind, ToBeSigned,
};

/// Every store that the configuration describes.
#[derive(Debug)]
pub struct Stores {
    stores: BTreeMap<StoreKind, Box<dyn KeyStore>>,
    series: KeyStoreSeries,
}

impl Stores {
    /// Disk and memory always; a token where one is described.
    pub fn new(directory: &Path, token: Option<&Pkcs11Settings>) -> Self {
        let mut stores = Self::of(StoreKind::Disk, Box::new(DiskKeys::new(directory)));
        stores.add(StoreKind::Memory, Box::<MemoryKeys>::default());
        if let Some(settings) = token {
            let token = Pkcs11Keys::new(settings.clone());
            let token = DeadlineKeyStore::new(StoreKind::Pkcs11, Arc::new(token), deadline::TOKEN);
            stores.add(StoreKind::Pkcs11, Box::new(token));
        }
        stores
    }

    /// One store alone.
    pub fn of(kind: StoreKind, store: Box<dyn KeyStore>) -> Self {
        Self {
            stores: BTreeMap::from([(kind, store)]),
            series: KeyStoreSeries::default(),
        }
    }

    fn add(&mut self, kind: StoreKind, store: Box<dyn KeyStore>) {
        self.stores.insert(kind, store);
    }

    /// Makes a key.
    pub fn create(&self, kind: StoreKind) -> Result<Arc<dyn CaKey>, KeyError> {
        let made = self.store(kind)?.create();
        self.series
            .counted(kind, KeyOperation::Create, made.is_ok());
        Ok(self.watched(kind, made?))
    }

    /// Finds a key.
    pub fn load(
        &self,
        kind: StoreKind,
        key_id: &str,
        spki: &[u8],
    ) -> Result<Arc<dyn CaKey>, KeyError> {
        let found = self.store(kind)?.load(key_id, spki);
        self.series.counted(kind, KeyOperation::Load, found.is_ok());
        Ok(self.watched(kind, found?))
    }

    /// Whether a key is in a store; not in one that the configuration does not describe.
    pub fn holds(&self, kind: StoreKind, key_id: &str, spki: &[u8]) -> Result<bool, KeyError> {
        match self.stores.get(&kind) {
            Some(store) => store.holds(key_id, spki),
            None => Ok(false),
        }
    }

    /// A key as PKCS#8 (DER), for another control plane.
    pub fn give(&self, kind: StoreKind, key_id: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        self.store(kind)?.give(key_id)
    }

    /// Takes over the key of this id from another control plane.
    pub fn take(
        &self,
        kind: StoreKind,
        key_id: &str,
        pkcs8: &[u8],
    ) -> Result<Arc<dyn CaKey>, KeyError> {
        let taken = self.store(kind)?.take(key_id, pkcs8)?;
        Ok(self.watched(kind, taken))
    }

    /// Destroys a key.
    pub fn destroy(&self, kind: StoreKind, key_id: &str) -> Result<(), KeyError> {
        let done = self.store(kind)?.destroy(key_id);
        self.series
            .counted(kind, KeyOperation::Destroy, done.is_ok());
        done
    }

    /// How a store is; `None` for one that the configuration does not describe.
    pub fn condition(&self, kind: StoreKind) -> Option<Condition> {
        Some(self.stores.get(&kind)?.condition())
    }

    /// Every store and how it is.
    pub fn conditions(&self) -> Vec<(StoreKind, Condition)> {
        let stores = self.stores.iter();
        stores
            .map(|(kind, store)| (*kind, store.condition()))
            .collect()
    }

    /// Looks at every store, and mends what can be mended. May wait for a device.
    pub fn probe(&self) {
        self.stores.values().for_each(|store| store.probe());
    }

    /// Registers the series, with every state as it is now.
    pub fn register(&self, registry: &mut Registry) {
        for (kind, condition) in self.conditions() {
            self.series.is_in(kind, condition.state);
        }
        self.series.register(registry);
    }

    fn store(&self, kind: StoreKind) -> Result<&dyn KeyStore, KeyError> {
        let store = self.stores.get(&kind).map(AsRef::as_ref);
        store.ok_or(KeyError::NotConfigured(kind))
    }

    fn watched(&self, kind: StoreKind, inner: Arc<dyn CaKey>) -> Arc<dyn CaKey> {
        Arc::new(Watched {
            inner,
            signed: self.series.counter(kind, KeyOperation::Sign, true),
            failed: self.series.counter(kind, KeyOperation::Sign, false),
        })
    }
}

/// A key whose signatures are counted.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn CaKey>,
    signed: Counter,
    failed: Counter,
}

impl CaKey for Watched {
    fn key_id(&self) -> &str {
        self.inner.key_id()
    }

    fn spki(&self) -> &[u8] {
        self.inner.spki()
    }

    fn ready(&self) -> Result<(), KeyError> {
        self.inner.ready()
    }

    fn sign(&self, message: &ToBeSigned) -> Result<Vec<u8>, KeyError> {
        let signature = self.inner.sign(message);
        let counter = match &signature {
            Ok(_) => &self.signed,
            Err(_) => &self.failed,
        };
        counter.inc();
        signature
    }
}
