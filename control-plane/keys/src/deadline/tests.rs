use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use countersign_issue::key::key_id;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::*;
use crate::Stores;
use crate::memory::MemoryKeys;

const BOUND: Duration = Duration::from_secs(20);
/// Short enough to be waited for, long enough for what does not hang.
const IMPATIENT: Bounds = Bounds {
    deadline: Duration::from_secs(1),
    trial_after: BOUND,
    ..TOKEN
};

/// A store whose every call waits at a gate: what a hung module looks like from above.
#[derive(Clone, Debug)]
struct Gated {
    keys: Arc<MemoryKeys>,
    gate: Arc<Mutex<Receiver<()>>>,
    /// Says the key id of each key that was destroyed.
    destroyed: Sender<String>,
}

struct Scene {
    store: Gated,
    stores: Stores,
    /// Lets one call go; all of them once it is dropped.
    let_go: Option<Sender<()>>,
    destroyed: Receiver<String>,
}

fn scene() -> Scene {
    let ((let_go, gate), (destroying, destroyed)) = (channel(), channel());
    let store = Gated {
        keys: Arc::default(),
        gate: Arc::new(Mutex::new(gate)),
        destroyed: destroying,
    };
    let bounded = DeadlineKeyStore::new(StoreKind::Pkcs11, Arc::new(store.clone()), IMPATIENT);
    Scene {
        store,
        stores: Stores::of(StoreKind::Pkcs11, Box::new(bounded)),
        let_go: Some(let_go),
        destroyed,
    }
}

impl Gated {
    fn pass(&self) {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = gate.recv();
    }
}

impl KeyStore for Gated {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        self.pass();
        self.keys.create()
    }

    fn load(&self, key_id: &str, spki: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        let (key, store) = (self.keys.load(key_id, spki)?, self.clone());
        Ok(Arc::new(GatedKey { key, store }))
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        self.keys.destroy(key_id)?;
        let _ = self.destroyed.send(key_id.to_owned());
        Ok(())
    }
}

#[derive(Debug)]
struct GatedKey {
    key: Arc<dyn CaKey>,
    store: Gated,
}

impl CaKey for GatedKey {
    fn key_id(&self) -> &str {
        self.key.key_id()
    }

    fn spki(&self) -> &[u8] {
        self.key.spki()
    }

    fn sign(&self, message: &ToBeSigned) -> Result<Vec<u8>, KeyError> {
        self.store.pass();
        self.key.sign(message)
    }
}

impl Scene {
    fn key(&self) -> Arc<dyn CaKey> {
        let key = self.store.keys.create().unwrap();
        let found = self
            .stores
            .load(StoreKind::Pkcs11, key.key_id(), key.spki());
        found.unwrap()
    }

    fn state(&self) -> StoreState {
        self.stores.condition(StoreKind::Pkcs11).unwrap().state
    }

    fn series(&self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.stores.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        text
    }
}

fn state_of(error: &KeyError) -> Option<StoreState> {
    match error {
        KeyError::NotReady { condition, .. } => Some(condition.state),
        _ => None,
    }
}

#[test]
fn a_store_that_hangs_says_so_and_comes_back() {
    let mut scene = scene();
    let key = scene.key();
    assert_eq!(scene.state(), StoreState::Ready);
    for _ in 0..3 {
        let refused = key.sign(&ToBeSigned::for_test(b"a")).unwrap_err();
        assert_eq!(state_of(&refused), Some(StoreState::Hung), "{refused}");
    }
    assert_eq!(scene.state(), StoreState::Hung);
    let series = scene.series();
    let hung = "keystore_state{store=\"pkcs11\",state=\"hung\"} 1";
    assert!(series.contains(hung), "{series}");

    drop(scene.let_go.take());
    let until = std::time::Instant::now() + BOUND;
    while scene.state() == StoreState::Hung {
        assert!(std::time::Instant::now() < until, "it comes back in time");
        std::thread::yield_now();
    }
    key.sign(&ToBeSigned::for_test(b"a")).unwrap();
    assert_eq!(scene.state(), StoreState::Ready);
}

#[test]
fn a_key_that_was_made_too_late_is_destroyed() {
    let mut scene = scene();
    let refused = scene.stores.create(StoreKind::Pkcs11).unwrap_err();
    assert_eq!(state_of(&refused), Some(StoreState::Hung));
    drop(scene.let_go.take());
    let destroyed = scene.destroyed.recv_timeout(BOUND).unwrap();
    assert!(scene.store.keys.load(&destroyed, &[]).is_err());
}

#[test]
fn a_key_in_a_patient_store_is_the_same_key() {
    let mut scene = scene();
    drop(scene.let_go.take());
    let made = scene.stores.create(StoreKind::Pkcs11).unwrap();
    assert_eq!(made.key_id(), key_id(made.spki()));
    made.sign(&ToBeSigned::for_test(b"a")).unwrap();
    scene.stores.probe();
    let (kind, id) = (StoreKind::Pkcs11, made.key_id());
    scene.stores.destroy(kind, id).unwrap();
    assert!(scene.stores.load(kind, id, made.spki()).is_err());
}
