//! Keys in a device that stops answering.

use std::sync::{Condvar, Mutex};

use countersign_ca::key::{CaKey, KeyError, KeyStore, StoreKind, ToBeSigned};
use countersign_keys::{Bounds, DeadlineKeyStore, DiskKeys, Stores};

use super::super::StoreState;
use super::log::told;
use super::*;

const BOUNDS: Bounds = Bounds {
    calls: 2,
    waiting: 8,
    place_wait: MINUTE,
    deadline: Duration::from_secs(2),
    trial_after: MINUTE,
};

/// Whether the device answers, and how many signatures it was asked for.
#[derive(Debug, Default)]
struct Device {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Device {
    fn hang(&self, hangs: bool) {
        self.state.lock().unwrap().0 = hangs;
        self.changed.notify_all();
    }

    fn asked(&self) -> usize {
        self.state.lock().unwrap().1
    }

    fn sign(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        drop(self.changed.wait_while(state, |state| state.0).unwrap());
    }
}

#[derive(Debug)]
struct Hanging {
    keys: DiskKeys,
    device: Arc<Device>,
}

#[derive(Debug)]
struct HangingKey {
    key: Arc<dyn CaKey>,
    device: Arc<Device>,
}

impl Hanging {
    fn key(&self, key: Arc<dyn CaKey>) -> Arc<dyn CaKey> {
        let device = self.device.clone();
        Arc::new(HangingKey { key, device })
    }
}

impl KeyStore for Hanging {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        Ok(self.key(self.keys.create()?))
    }

    fn load(&self, key_id: &str, spki: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        Ok(self.key(self.keys.load(key_id, spki)?))
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        self.keys.destroy(key_id)
    }
}

impl CaKey for HangingKey {
    fn key_id(&self) -> &str {
        self.key.key_id()
    }

    fn spki(&self) -> &[u8] {
        self.key.spki()
    }

    fn sign(&self, message: &ToBeSigned) -> Result<Vec<u8>, KeyError> {
        self.device.sign();
        self.key.sign(message)
    }
}

/// A control plane whose keys are in such a device, and a node.
async fn hanging() -> (Plane, Arc<Device>, AttestedNode) {
    let (dir, device) = (Dir::new(), Arc::new(Device::default()));
    let its = device.clone();
    let keys = move |dir: &countersign_store::DataDir| -> Result<Stores, AuthorityError> {
        let keys = DiskKeys::new(&dir.subdirectory("keys").unwrap());
        let hanging = Arc::new(Hanging { keys, device: its });
        let store = DeadlineKeyStore::new(StoreKind::Disk, hanging, BOUNDS);
        Ok(Stores::of(StoreKind::Disk, Box::new(store)))
    };
    let settings = settings(&dir.path().join("cp"));
    let authority = Authority::open_with(settings, keys, (None, |store| store), start())
        .await
        .unwrap();
    let plane = Plane { dir, authority };
    let node = plane.attest("/node/a").await;
    (plane, device, node)
}

/// Waits until the device is seen to answer again.
async fn recovered(plane: &Plane) {
    let is_ready = || plane.authority.key_stores()[0].1.state == StoreState::Ready;
    let recovered = async {
        while !is_ready() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, recovered).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn device_that_hangs_makes_issuing_wait_and_nothing_else() {
    let (plane, device, node) = hanging().await;
    let own = EntitlementId::node();
    let svid = plane.enrol(&node, &own).await;

    device.hang(true);
    let key = proven(&fresh_key(), &own);
    let refused = plane.authority.enrol(&node, &own, &key, after(1)).await;
    let Err(AuthorityError::Unavailable(reason)) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.to_string().contains("hung"), "{reason}");
    let (asked, logged) = (device.asked(), plane.authority.ledger.log().size());
    let obstacles = plane.authority.obstacles(after(1));
    assert!(obstacles[0].contains("hung"), "{obstacles:?}");
    for _ in 0..8 {
        let key = proven(&fresh_key(), &own);
        let refused = plane.authority.enrol(&node, &own, &key, after(1)).await;
        assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
    }
    assert_eq!(device.asked(), asked, "nobody else waited for it");
    assert_eq!(
        plane.authority.ledger.log().size(),
        logged,
        "nothing was logged for it"
    );
    let held = plane.authority.published(&svid.node, &svid.entitlement);
    assert_eq!(held.unwrap().chain(), svid.chain());
    plane.register(registration("/web", "/node/a")).await;

    device.hang(false);
    recovered(&plane).await;
    assert!(plane.authority.obstacles(after(2)).is_empty());
    let key = proven(&fresh_key(), &own);
    let svid = plane.authority.enrol(&node, &own, &key, after(2)).await;
    certificates::verify(&plane, &svid.unwrap().chain(), after(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_of_a_call_that_hung_is_void() {
    let (plane, device, node) = hanging().await;
    let (own, from) = (EntitlementId::node(), plane.authority.ledger.log().size());
    let key = proven(&fresh_key(), &own);
    device.hang(true);
    let refused = plane.authority.enrol(&node, &own, &key, start()).await;
    assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
    assert_eq!(told(&plane, from)[1..], [format!("voided {from}")]);

    device.hang(false);
    recovered(&plane).await;
    let svid = plane.authority.enrol(&node, &own, &key, after(1)).await;
    assert_eq!(svid.unwrap().serial.index(), from + 2, "never the void one");
}
