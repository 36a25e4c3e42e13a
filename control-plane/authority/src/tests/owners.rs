//! Whose an issuing CA is.

use countersign_proto::log::entry::What;
use countersign_store::copy::{to_database, to_files};
use countersign_store::{DataDir, Kind, Write};
use countersign_tests_postgres::shared;

use super::super::{AuthorityInfo, SlotState, StoreKind};
use super::*;

/// What is stored, with another value of a field.
pub(super) fn with(stored: &Write, field: &str, value: &str) -> Write {
    let text = stored.value.as_deref().unwrap();
    let mut fields: serde_json::Value = serde_json::from_str(text).unwrap();
    fields[field] = value.into();
    Write {
        value: Some(fields.to_string()),
        ..stored.clone()
    }
}

/// What the store has of the CAs.
pub(super) async fn stored(plane: &Plane) -> BTreeMap<String, Write> {
    let entries = plane.authority.store.snapshot().await.unwrap().entries;
    let cas = entries.into_iter().filter(|it| it.kind == Kind::Authority);
    cas.map(|it| (it.key.clone(), it.into_write())).collect()
}

pub(super) fn keys(plane: &Plane) -> usize {
    let keys = plane.dir.path().join("cp/keys").read_dir().unwrap();
    keys.count()
}

fn only(of: Vec<AuthorityInfo>) -> AuthorityInfo {
    assert_eq!(of.len(), 1, "{of:?}");
    of.into_iter().next().unwrap()
}

/// The steps of issuing CAs that the log tells of from an index on.
fn rotated(plane: &Plane, from: u64) -> Vec<(String, String)> {
    let entries = plane.authority.ledger.log().scan(from);
    let steps = entries.filter_map(|noted| match noted.unwrap().what()? {
        What::Rotated(it) => Some((it.replica.clone(), it.state.clone())),
        _ => None,
    });
    let mut steps: Vec<_> = steps.collect();
    steps.sort();
    steps
}

async fn moved(
    plane: Plane,
    store: StoreSettings,
    copy: impl AsyncFnOnce(&DataDir),
    now: Timestamp,
) -> Plane {
    let Plane { dir, authority } = plane;
    let mut settings = authority.settings.clone();
    authority.flush(now).await.unwrap();
    drop(authority);
    let data_dir = async {
        loop {
            match DataDir::open(&settings.data_dir) {
                Ok(data_dir) => return data_dir,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let data_dir = tokio::time::timeout(MINUTE, data_dir).await.unwrap();
    copy(&data_dir).await;
    drop(data_dir);
    settings.store = store;
    let authority = open_again(settings, now).await;
    Plane { dir, authority }
}

/// Into a database and back: the same issuing CA signs, and its key is there.
#[tokio::test]
async fn state_that_moves_keeps_its_issuing_ca() {
    let plane = Plane::with(|settings| settings.store = StoreSettings::Sqlite).await;
    let issuing = only(plane.authority.tiers().issuing);
    assert_eq!(issuing.replica, "");
    let text = stored(&plane).await[&issuing.key_id].value.clone().unwrap();
    assert!(!text.contains("owner"), "{text}");

    let database = shared().database();
    let in_database = database_at(&database.url().to_string());
    let StoreSettings::Postgres { address, .. } = &in_database else {
        unreachable!("it is in a database");
    };
    let copy = async |dir: &DataDir| {
        to_database(dir, address).await.unwrap();
    };
    let plane = moved(plane, in_database.clone(), copy, after(1)).await;
    let found = only(plane.authority.tiers().issuing);
    assert_eq!(
        (found.key_id, &*found.replica),
        (issuing.key_id.clone(), "a")
    );
    let plane = plane.restart(after(2)).await;
    let found = only(plane.authority.tiers().issuing);
    assert_eq!(
        (found.key_id, &*found.replica),
        (issuing.key_id.clone(), "a")
    );
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(svid.chain()[1], issuing.certificate);
    let from = plane.authority.ledger.log().size();
    plane.authority.rotate_issuing(after(2)).await.unwrap();
    let steps = ["active", "retired"].map(|state| ("a".to_owned(), state.to_owned()));
    assert_eq!(rotated(&plane, from), steps);
    let issuing = plane.authority.tiers().issuing.remove(0);

    let other = with(&stored(&plane).await[&issuing.key_id], "owner", "b");
    let other = Write {
        key: "another".to_owned(),
        ..other
    };
    let committed = plane.authority.store.commit(vec![other], Vec::new()).await;
    committed.unwrap();
    let copy = async |dir: &DataDir| {
        to_files(address, dir).await.unwrap();
    };
    let plane = moved(plane, StoreSettings::Sqlite, copy, after(3)).await;
    let mut found = plane.authority.tiers().issuing;
    // Nobody has the key of another replica's any more.
    let other = found.iter().position(|it| it.replica == "b").unwrap();
    assert_eq!(found.remove(other).state, SlotState::Retired);
    assert!(found.iter().all(|it| it.replica.is_empty()), "{found:?}");
    assert_eq!(found[0].key_id, issuing.key_id);
    let made = plane.authority.rotate_issuing(after(4)).await.unwrap();
    assert_eq!(made.replica, "");
    assert_eq!(keys(&plane), 2, "the key of the one before is destroyed");
}

/// What belongs to another replica is neither looked for nor destroyed, and signs nothing of ours.
#[tokio::test]
async fn issuing_ca_of_another_replica_is_left_alone() {
    let plane = Plane::new().await;
    let own = only(plane.authority.tiers().issuing);
    let other = with(&stored(&plane).await[&own.key_id], "owner", "b");
    let other = Write {
        key: "another".to_owned(),
        ..with(&other, "store", "pkcs11")
    };
    let committed = plane.authority.store.commit(vec![other], Vec::new()).await;
    committed.unwrap();
    // There is no such store here: a start that asked it for a key would fail.
    let plane = plane.restart(after(1)).await;
    let issuing = plane.authority.tiers().issuing;
    let owners: BTreeSet<_> = issuing.iter().map(|it| &*it.replica).collect();
    assert_eq!(owners, BTreeSet::from([&*own.replica, "b"]));
    assert!(issuing.iter().all(|it| it.state == SlotState::Active));
    assert!(plane.authority.obstacles(after(1)).is_empty());
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    assert_eq!(svid.chain()[1], own.certificate);

    plane.authority.rotate_issuing(after(2)).await.unwrap();
    let issuing = plane.authority.tiers().issuing;
    let others = issuing.iter().filter(|it| it.replica == "b");
    let others: Vec<_> = others.map(|it| (it.state, it.store)).collect();
    assert_eq!(others, [(SlotState::Active, Some(StoreKind::Pkcs11))]);
    assert_eq!(keys(&plane), 2);
}
