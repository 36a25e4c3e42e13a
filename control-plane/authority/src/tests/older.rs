//! A database that was put back as it was before its log went on.

use std::path::PathBuf;

use countersign_ca::log::Log;
use countersign_fleet::gate::GateOpen;
use countersign_keys::Stores;
use countersign_keys::testing::with_token;
use countersign_store::{DATABASE, DataDir};

use super::super::StoreKind;
use super::super::ca_hierarchy::KEYS;
use super::orphans::{alive, alive_in, all_in};
use super::*;

/// Copies a folder as a kill would leave it.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, from.metadata().unwrap().permissions()).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The files of the database in a folder.
fn database(dir: &Path) -> Vec<PathBuf> {
    let files = dir.read_dir().unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let of_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(DATABASE)
    };
    paths.filter(of_it).collect()
}

/// Has `changes` be made and a start see the database of before: it is refused, destroys no key
/// and voids no entry.
async fn is_refused(plane: Plane, changes: impl AsyncFnOnce(&Plane)) {
    let (data_dir, older) = (plane.dir.path().join("cp"), plane.dir.path().join("older"));
    copy(&data_dir, &older);
    changes(&plane).await;
    let killed = Dir::new();
    let mut settings = plane.authority.settings.clone();
    settings.data_dir = killed.path().join("cp");
    copy(&data_dir, &settings.data_dir);
    for path in database(&settings.data_dir) {
        std::fs::remove_file(path).unwrap();
    }
    for path in database(&older) {
        let name = path.file_name().unwrap();
        std::fs::copy(&path, settings.data_dir.join(name)).unwrap();
    }
    let before = alive(&plane);
    let refused = Authority::open(settings.clone(), after(10)).await;
    assert_eq!(code(refused), "state_older_than_log");

    let kept = DataDir::open(&settings.data_dir).unwrap();
    let keys = kept.subdirectory(KEYS).unwrap();
    let keys = Stores::new(&keys, settings.hierarchy.pkcs11.as_ref());
    keys.probe();
    let log = plane.authority.ledger.log();
    let entropy = settings.entropy.clone();
    let log = Log::open(
        log.id(),
        &settings.trust_domain,
        &settings.data_dir,
        entropy,
        None,
    )
    .unwrap();
    assert_eq!(alive_in(&log, &keys), before, "nothing was destroyed");
    assert_eq!(
        log.size(),
        plane.authority.ledger.log().size(),
        "nothing was voided"
    );
}

/// These tests exchange the file of the database.
async fn on_files(change: impl FnOnce(&mut Settings)) -> Plane {
    Plane::with(|settings| {
        settings.store = StoreSettings::Sqlite;
        change(settings);
    })
    .await
}

async fn rotate_root(plane: &Plane) {
    let authority = &plane.authority;
    authority.prepare_root(after(1)).await.unwrap();
    let gate = GateOpen::for_test(authority.bundle().0.version());
    authority.activate_root(gate, after(2)).await.unwrap();
}

#[tokio::test]
async fn older_database_destroys_no_key_on_disk() {
    let plane = on_files(|settings| settings.hierarchy = all_in(StoreKind::Disk, None)).await;
    is_refused(plane, async |plane| {
        plane.authority.prepare_root(after(1)).await.unwrap();
        plane.authority.rotate_issuing(after(2)).await.unwrap();
    })
    .await;
}

#[test]
fn older_database_destroys_no_key_in_a_token() {
    let test = concat!(
        module_path!(),
        "::older_database_destroys_no_key_in_a_token"
    );
    with_token(test, |token| {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(2).enable_all().build();
        let hierarchy = all_in(StoreKind::Pkcs11, Some(token));
        runtime.unwrap().block_on(async {
            let plane = on_files(|settings| settings.hierarchy = hierarchy).await;
            is_refused(plane, rotate_root).await;
        });
    });
}

#[tokio::test]
async fn leaf_of_an_unknown_ca_tells() {
    let plane = on_files(|_| ()).await;
    is_refused(plane, async |plane| {
        plane.authority.rotate_issuing(after(1)).await.unwrap();
        plane.authority.server_identity(after(2)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn inventory_of_a_newer_database_tells() {
    let plane = on_files(|_| ()).await;
    is_refused(plane, async |plane| {
        plane.authority.rotate_issuing(after(1)).await.unwrap();
        plane.authority.flush(after(2)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn database_older_by_registrations_is_refused() {
    let plane = on_files(|_| ()).await;
    is_refused(plane, async |plane| {
        plane.register(registration("/web", "/node/a")).await;
        let api = whole(registration("/api", "/node/a"));
        // At one moment they would be one change, applied together.
        drop(plane.authority.register(api, false, after(1)).await);
    })
    .await;
}
