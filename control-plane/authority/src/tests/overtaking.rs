//! Certificates that overtake a change or the removal of their registration: authorized before
//! memory knows of it, logged after its entry, and given out.

use countersign_keys::Stores;
use countersign_store::testing::{Gate, gated};
use countersign_store::{DataDir, Kind};

use super::super::ca_hierarchy::KEYS;
use super::*;

/// A control plane whose commits wait when a test says so.
async fn waiting() -> (Plane, Arc<Gate>) {
    let (dir, gate) = (Dir::new(), Gate::open());
    let keys = |dir: &DataDir| Ok(Stores::new(&dir.subdirectory(KEYS).unwrap(), None));
    let store = |store| gated(store, gate.clone());
    let mut settings = settings(&dir.path().join("cp"));
    // A database takes entries of the log in their turn: there nothing overtakes a change.
    settings.store = StoreSettings::Sqlite;
    let authority = Authority::open_with(settings, keys, (None, store), start()).await;
    let authority = authority.unwrap();
    (Plane { dir, authority }, gate)
}

fn named(dns: &[&str]) -> RegistrationRequest {
    let mut registration = registration("/web", "/node/a");
    registration.dns = dns.iter().map(ToString::to_string).collect();
    RegistrationRequest {
        registration,
        names_criticality: true,
        mode: Mode::Replace,
    }
}

/// What a certificate at an index of the log was authorized for.
fn epoch_of(plane: &Plane, index: u64) -> u64 {
    let entry = plane
        .authority
        .ledger
        .log()
        .read_back(index)
        .unwrap()
        .unwrap();
    entry.issuance().key_epoch.unwrap()
}

#[tokio::test]
async fn certificate_that_overtakes_a_change_is_older_than_it() {
    let (plane, gate) = waiting().await;
    let authority = &plane.authority;
    let (wide, narrow) = (named(&["web.local"]), named(&[]));
    let kept = authority.register(wide, false, start()).await.unwrap();
    let web = kept.registration.key.entitlement_id();
    let node = plane.attest("/node/a").await;

    gate.shut(Kind::Registration);
    let its = authority.clone();
    let change = tokio::spawn(async move { its.register(narrow, false, start()).await });
    gate.arrived().await;
    let changed = authority.ledger.log().size() - 1;
    let key = proven(&fresh_key(), &web);
    let enrol = async |key| authority.enrol(&node, &web, key, start()).await;
    let svid = enrol(&key).await.unwrap();
    let stream = authority.hub().join(node.id());
    gate.reopen();
    change.await.unwrap().unwrap();

    let index = svid.serial.index();
    assert!(
        index > changed && has_names(&svid),
        "it overtook the change"
    );
    let asked = authority
        .entitlement(node.id(), &web)
        .unwrap()
        .min_key_epoch;
    assert!(
        epoch_of(&plane, index) < asked,
        "its key is of an epoch before"
    );
    assert_eq!(entitlements(&stream.news().await), [web.clone()].into());
    assert_eq!(code(enrol(&key).await), "key_superseded");
    let next = enrol(&proven(&fresh_key(), &web)).await.unwrap();
    assert!(!has_names(&next) && epoch_of(&plane, next.serial.index()) == asked);
    let plane = plane.crash(after(1)).await;
    let shown = plane.authority.published(node.id(), &web).unwrap();
    assert_eq!(shown.serial, next.serial);
}

#[tokio::test]
async fn removal_names_the_end_of_what_overtakes_it() {
    let (plane, gate) = waiting().await;
    let authority = &plane.authority;
    let kept = authority
        .register(named(&[]), false, start())
        .await
        .unwrap();
    let web = kept.registration.key.entitlement_id();
    let node = plane.attest("/node/a").await;
    let before = plane.enrol(&node, &web).await;

    gate.shut(Kind::Registration);
    let its = authority.clone();
    let removal = async move { its.unregister(&id("/web"), None, after(1_800)).await };
    let removal = tokio::spawn(removal);
    gate.arrived().await;
    let key = proven(&fresh_key(), &web);
    let svid = authority.enrol(&node, &web, &key, after(1_800)).await;
    gate.reopen();
    let removed = removal.await.unwrap().unwrap();

    let end = svid.unwrap().lifetime.not_after;
    assert!(end > before.lifetime.not_after);
    assert_eq!(removed.valid_until, Some(end));
    assert!(authority.published(node.id(), &web).is_none());
}

/// A commit that waits for a database to say what became of it holds up those behind it for a while,
/// not for as long as it waits itself.
#[tokio::test]
async fn change_behind_an_undecided_one_is_refused_in_time() {
    let (plane, gate) = waiting().await;
    let authority = &plane.authority;
    gate.shut(Kind::Registration);
    let its = authority.clone();
    let change = tokio::spawn(async move { its.register(named(&[]), false, start()).await });
    gate.arrived().await;
    tokio::time::pause();
    let other = whole(registration("/api", "/node/a"));
    let refused = authority.register(other.clone(), false, start()).await;
    tokio::time::resume();
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("was not decided within 20 s"), "{refused}");
    gate.reopen();
    change.await.unwrap().unwrap();
    authority.register(other, false, start()).await.unwrap();
}
