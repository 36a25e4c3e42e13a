//! Keys of CAs that never come to be: none is left in its key store.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_ca::key::{CaKey, KeyError, KeyStore, ToBeSigned};
use countersign_ca::log::Log;
use countersign_fleet::gate::GateOpen;
use countersign_issue::key::key_id;
use countersign_issue::profile::Profile;
use countersign_keys::testing::{SoftToken, with_token};
use countersign_keys::{DiskKeys, Stores};
use countersign_proto::log::entry::What;
use countersign_store::testing::{Fault, Faults, failing};
use countersign_store::{DataDir, Kind};
use x509_parser::certificate::TbsCertificate;
use x509_parser::prelude::FromDer as _;

use super::super::ca_hierarchy::KEYS;
use super::super::{Hierarchy, SlotState, StoreKind};
use super::faults::{faulty, open, set};
use super::foreign_root::{Offline, YEAR, external};
use super::log::{everything, told};
use super::*;

/// Every tier in one store.
pub(super) fn all_in(store: StoreKind, token: Option<&SoftToken>) -> Hierarchy {
    Hierarchy {
        root: Some(store),
        intermediate: Some((store, Duration::from_secs(100 * 86_400))),
        issuing: store,
        pkcs11: token.map(SoftToken::settings),
    }
}

/// The CA keys that the log tells of and that can still sign, wherever they are.
pub(super) fn alive(plane: &Plane) -> BTreeSet<String> {
    alive_in(plane.authority.ledger.log(), plane.authority.keys())
}

pub(super) fn alive_in(log: &Log, keys: &Stores) -> BTreeSet<String> {
    let mut alive = BTreeSet::new();
    for noted in log.scan(0) {
        let noted = noted.unwrap();
        let Some(What::Issued(issued)) = noted.what() else {
            continue;
        };
        if !Profile::named(&issued.profile).unwrap().is_ca() {
            continue;
        }
        let (_, tbs) = TbsCertificate::from_der(&issued.tbs).unwrap();
        let spki = tbs.public_key().raw;
        let id = key_id(spki);
        let signs = |store| {
            keys.load(store, &id, spki)
                .is_ok_and(|key| key.sign(&ToBeSigned::for_test(b"x")).is_ok())
        };
        if keys.conditions().iter().any(|(store, _)| signs(*store)) {
            alive.insert(id);
        }
    }
    alive
}

/// The CAs that may sign.
fn known(plane: &Plane) -> BTreeSet<String> {
    let tiers = plane.authority.tiers();
    let all = [tiers.roots, tiers.intermediates, tiers.issuing].concat();
    let signing = all.into_iter().filter(|ca| ca.state != SlotState::Retired);
    signing.map(|ca| ca.key_id).collect()
}

/// Has a change refused by the store: nothing of it is left, and it can be made again.
async fn is_unmade(
    plane: &Plane,
    faults: &Faults,
    change: impl AsyncFn(&Authority) -> Result<(), AuthorityError>,
) {
    let (before, listed) = (known(plane), everything(plane));
    let from = plane.authority.ledger.log().size();
    set(faults, Fault::Refuse(Kind::Authority));
    let refused = change(&plane.authority).await;
    assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
    set(faults, Fault::None);
    assert_eq!(alive(plane), before);
    let told = told(plane, from);
    let (voided, made): (Vec<_>, Vec<_>) = told.iter().partition(|it| it.starts_with("voided"));
    assert!(made.iter().any(|it| it.starts_with("issued")), "{told:?}");
    assert_eq!(voided.len(), made.len(), "{told:?}");
    assert_eq!(everything(plane), listed);
    change(&plane.authority).await.unwrap();
    assert_eq!(alive(plane), known(plane));
}

/// Every change that makes keys, one after the other.
async fn every_change_is_unmade(hierarchy: Hierarchy) {
    let (plane, faults) = faulty(|settings| settings.hierarchy = hierarchy).await;
    is_unmade(&plane, &faults, async |authority| {
        authority.rotate_issuing(after(1)).await.map(drop)
    })
    .await;
    is_unmade(&plane, &faults, async |authority| {
        authority.rotate_intermediate(after(2)).await.map(drop)
    })
    .await;
    is_unmade(&plane, &faults, async |authority| {
        authority.prepare_root(after(3)).await.map(drop)
    })
    .await;
    is_unmade(&plane, &faults, async |authority| {
        let bundle = authority.bundle().0;
        let gate = GateOpen::for_test(bundle.version());
        authority.activate_root(gate, after(4)).await.map(drop)
    })
    .await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    certificates::verify(&plane, &svid.chain(), after(5));
}

#[tokio::test]
async fn refused_change_leaves_no_key_on_disk() {
    every_change_is_unmade(all_in(StoreKind::Disk, None)).await;
}

#[tokio::test]
async fn refused_change_leaves_no_key_in_memory() {
    every_change_is_unmade(all_in(StoreKind::Memory, None)).await;
}

#[test]
fn refused_change_leaves_no_key_in_a_token() {
    let test = concat!(module_path!(), "::refused_change_leaves_no_key_in_a_token");
    with_token(test, |token| {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build();
        let hierarchy = all_in(StoreKind::Pkcs11, Some(token));
        runtime.unwrap().block_on(every_change_is_unmade(hierarchy));
    });
}

fn on_disk(dir: &Path) -> usize {
    dir.join("cp").join(KEYS).read_dir().unwrap().count()
}

#[tokio::test]
async fn refused_first_start_leaves_no_key() {
    let dir = Dir::new();
    let settings = settings(&dir.path().join("cp"));
    let faults = Faults::default();
    set(&faults, Fault::Refuse(Kind::Authority));
    open(settings.clone(), &faults).await.unwrap_err();
    assert_eq!(on_disk(dir.path()), 0);
    set(&faults, Fault::None);
    let authority = open(settings, &faults).await.unwrap();
    let plane = Plane { dir, authority };
    assert_eq!(on_disk(plane.dir.path()), 2);
    assert_eq!(everything(&plane).len(), 2, "a root and an issuing CA");
}

#[tokio::test]
async fn tier_that_cannot_be_made_leaves_none_above_it() {
    let dir = Dir::new();
    let mut settings = settings(&dir.path().join("cp"));
    settings.hierarchy = Hierarchy {
        issuing: StoreKind::Pkcs11,
        ..all_in(StoreKind::Disk, None)
    };
    let refused = Authority::open(settings, start()).await;
    assert_eq!(code(refused), "key_store_not_configured");
    assert_eq!(on_disk(dir.path()), 0);
}

#[tokio::test]
async fn first_start_that_may_be_kept_is_found_out() {
    for fault in [
        Fault::StopBefore(Kind::Authority),
        Fault::StopAfter(Kind::Authority),
    ] {
        let dir = Dir::new();
        let settings = settings(&dir.path().join("cp"));
        let faults = Faults::default();
        set(&faults, fault);
        open(settings.clone(), &faults).await.unwrap_err();
        assert_eq!(on_disk(dir.path()), 2, "they may be needed");
        let authority = Authority::open(settings, after(1)).await.unwrap();
        assert_eq!(on_disk(dir.path()), 2, "{fault:?}");
        let plane = Plane { dir, authority };
        assert_eq!(alive(&plane), known(&plane));
        plane.authority.server_identity(after(1)).await.unwrap();
    }
}

#[tokio::test]
async fn rotation_that_may_be_kept_is_found_out() {
    let kind = Kind::Authority;
    for (fault, is_kept) in [
        (Fault::StopBefore(kind), false),
        (Fault::StopAfter(kind), true),
    ] {
        let (plane, faults) = faulty(|_| ()).await;
        let old = plane.authority.tiers().issuing[0].key_id.clone();
        let from = plane.authority.ledger.log().size();
        set(&faults, fault);
        plane.authority.rotate_issuing(after(1)).await.unwrap_err();
        assert_eq!(alive(&plane).len(), 3, "the new key may be needed");
        let plane = plane.crash(after(2)).await;
        let active = plane.authority.tiers().issuing[0].key_id.clone();
        assert_eq!(active != old, is_kept);
        let told = told(&plane, from);
        let voided = told.iter().filter(|it| it.starts_with("voided")).count();
        assert_eq!(voided, if is_kept { 0 } else { 3 }, "{told:?}");
        if !is_kept {
            assert_eq!(alive(&plane), known(&plane));
            assert_eq!(everything(&plane).len(), 2, "a root and an issuing CA");
        }
        plane.authority.server_identity(after(2)).await.unwrap();
        let plane = plane.restart(after(3)).await;
        let again = plane.authority.ledger.log().size() - from;
        assert_eq!(again, told.len() as u64 + 1, "it is voided once");
    }
}

#[tokio::test]
async fn refused_request_leaves_no_key() {
    let (plane, faults) = faulty(external).await;
    set(&faults, Fault::Refuse(Kind::Meta));
    plane.authority.ca_request().await.unwrap_err();
    assert_eq!(on_disk(plane.dir.path()), 0);
    set(&faults, Fault::StopAfter(Kind::Meta));
    plane.authority.ca_request().await.unwrap_err();
    assert_eq!(on_disk(plane.dir.path()), 0);
    let plane = plane.crash(after(1)).await;
    let request = plane.authority.ca_request().await.unwrap();
    assert_eq!(on_disk(plane.dir.path()), 1);
    let plane = plane.restart(after(2)).await;
    let again = plane.authority.ca_request().await.unwrap();
    assert_eq!(again.key_id, request.key_id);
}

#[tokio::test]
async fn refused_import_keeps_the_requested_key_alone() {
    let (plane, faults) = faulty(external).await;
    let root = Offline::new("Offline Root");
    let request = plane.authority.ca_request().await.unwrap();
    let signed = root.sign(&request.pem, YEAR);
    let import = || {
        let (chain, root) = (vec![signed.clone()], root.certificate());
        plane.authority.import_ca(chain, root, after(1))
    };
    set(&faults, Fault::Refuse(Kind::Authority));
    import().await.unwrap_err();
    assert_eq!(on_disk(plane.dir.path()), 1, "the key of the request");
    set(&faults, Fault::None);
    let imported = import().await.unwrap();
    assert_eq!(imported.key_id, request.key_id);
    assert_eq!(on_disk(plane.dir.path()), 2);
}

/// Keys on disk, of which so many are not destroyed when that is asked for.
#[derive(Debug)]
struct Stubborn {
    inner: DiskKeys,
    refusals: Arc<AtomicUsize>,
}

impl KeyStore for Stubborn {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        self.inner.create()
    }

    fn load(&self, key_id: &str, spki: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        self.inner.load(key_id, spki)
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        let left = |refusals: usize| refusals.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        match self.refusals.fetch_update(set, fetch, left) {
            Ok(_) => Err(KeyError::Damaged(key_id.to_owned())),
            Err(_) => self.inner.destroy(key_id),
        }
    }
}

/// A rotation that comes to nothing, and whose key is not destroyed.
async fn stubborn() -> Plane {
    let dir = Dir::new();
    let (faults, refusals) = (Faults::default(), Arc::<AtomicUsize>::default());
    let (failing_too, left) = (faults.clone(), refusals.clone());
    let keys = move |dir: &DataDir| -> Result<Stores, AuthorityError> {
        let inner = DiskKeys::new(&dir.subdirectory(KEYS).unwrap());
        let refusals = left;
        Ok(Stores::of(
            StoreKind::Disk,
            Box::new(Stubborn { inner, refusals }),
        ))
    };
    let store = |store| failing(store, failing_too);
    let settings = settings(&dir.path().join("cp"));
    let authority = Authority::open_with(settings, keys, (None, store), start());
    let authority = authority.await.unwrap();
    set(&faults, Fault::Refuse(Kind::Authority));
    refusals.store(1, Ordering::Relaxed);
    authority.rotate_issuing(after(1)).await.unwrap_err();
    set(&faults, Fault::None);
    assert_eq!(on_disk(dir.path()), 3, "root, issuing CA and one too many");
    Plane { dir, authority }
}

#[tokio::test]
async fn key_that_is_not_destroyed_is_tried_again() {
    let plane = stubborn().await;
    plane.authority.tick(after(2)).await.unwrap();
    assert_eq!(on_disk(plane.dir.path()), 2);
    assert_eq!(alive(&plane), known(&plane));
    assert_eq!(plane.authority.hierarchy.first_undestroyed(), None);
}

#[tokio::test]
async fn start_destroys_the_keys_of_void_cas() {
    let plane = stubborn().await.crash(after(2)).await;
    assert_eq!(on_disk(plane.dir.path()), 2, "after a crash");
    let plane = stubborn().await.restart(after(2)).await;
    assert_eq!(on_disk(plane.dir.path()), 2, "after an orderly end");
    assert_eq!(alive(&plane), known(&plane));
}

#[tokio::test]
async fn void_of_a_ca_is_told_after_every_start() {
    let (plane, faults) = faulty(|_| ()).await;
    let from = plane.authority.ledger.log().size();
    set(&faults, Fault::Refuse(Kind::Authority));
    plane.authority.rotate_issuing(after(1)).await.unwrap_err();
    set(&faults, Fault::None);
    let logged = plane
        .authority
        .ledger
        .log()
        .read_back(from)
        .unwrap()
        .unwrap();
    let (void, end) = (logged.issuance().serial, logged.issuance().not_after);
    let is_void = async |plane: &Plane| {
        let shown = plane.authority.certificate(&void.into(), 0).await.unwrap();
        shown.voided && shown.der.is_none()
    };
    assert!(is_void(&plane).await);
    // The second start knows it from the file that the first one wrote.
    let plane = plane.restart(after(2)).await;
    assert!(is_void(&plane).await, "after a start");
    let plane = plane.restart(after(3)).await;
    assert!(is_void(&plane).await, "after another");
    // Where a database has the log there is none.
    let _ = std::fs::remove_file(plane.dir.path().join("cp/inventory"));
    let plane = plane.crash(after(4)).await;
    assert!(is_void(&plane).await, "read from the log alone");
    let over = end + SignedDuration::from_secs(1);
    plane.authority.state.write().keys.forget_expired(over);
    assert_eq!(plane.authority.state.read().keys.voids_below(u64::MAX), []);
}
