//! A state that is kept in PostgreSQL.

use countersign_backup::unpack;
use countersign_refusal::Unavailable;
use countersign_restore::take_over;
use countersign_store::DataDir;
use countersign_store::copy::{to_database, to_files};
use countersign_tests_postgres::{Cluster, Database, Proxy, shared};

use super::*;

async fn kept_in(database: &Database) -> Plane {
    let url = database.url().to_string();
    Plane::with(|settings| settings.store = database_at(&url)).await
}

fn rows(database: &Database) -> String {
    let tables = ["entries", "changes", "sequence", "writers"];
    let counted = tables.map(|table| format!("(SELECT count(*) FROM countersign.{table})"));
    format!(
        "{:?}",
        database.sql(&format!("SELECT {}", counted.join(", ")))
    )
}

#[tokio::test]
async fn state_in_a_database_is_found_again() {
    let database = shared().database();
    let plane = kept_in(&database).await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &web).await;
    let stamp = plane.authority.stamp();
    assert!(!plane.dir.path().join("cp/state.db").exists());

    let plane = plane.restart(after(60)).await;
    // Signatures come into the database by commits of their own.
    let found_at = plane.authority.stamp();
    assert!(found_at.epoch == stamp.epoch && found_at.sequence >= stamp.sequence);
    let found = plane.authority.published(&svid.node, &web).unwrap();
    assert_eq!(found.serial, svid.serial);
    let plane = plane.crash(after(61)).await;
    assert_eq!(plane.authority.entitlements(&svid.node).len(), 2);
}

#[tokio::test]
async fn database_of_another_control_plane_is_refused() {
    let database = shared().database();
    let _plane = kept_in(&database).await;
    let before = rows(&database);
    let dir = Dir::new();
    let mut settings = settings(&dir.path().join("cp"));
    settings.store = match database_at(&database.url().to_string()) {
        StoreSettings::Postgres { address, .. } => StoreSettings::Postgres {
            address,
            replica: "b".to_owned(),
            invitation: None,
        },
        StoreSettings::Sqlite => unreachable!("it is in a database"),
    };
    assert_eq!(
        code(Authority::open(settings.clone(), start()).await),
        "database_taken"
    );
    // Another data directory under the name of the first.
    settings.store = database_at(&database.url().to_string());
    let refused = Authority::open(settings, start()).await;
    assert_eq!(code(refused), "replica_name_taken");
    assert_eq!(rows(&database), before, "nothing was written");
}

#[tokio::test]
async fn two_states_are_refused() {
    let plane = Plane::with(|settings| settings.store = StoreSettings::Sqlite).await;
    let Plane { dir, authority } = plane;
    let mut settings = authority.settings.clone();
    drop(authority);
    let database = shared().database();
    settings.store = database_at(&database.url().to_string());
    let opened = async {
        loop {
            match Authority::open(settings.clone(), start()).await {
                Err(AuthorityError::Denied(denied)) if denied.code != "data_dir_in_use" => {
                    return denied.code;
                }
                Err(_) => tokio::task::yield_now().await,
                Ok(_) => panic!("one of the two was chosen"),
            }
        }
    };
    assert_eq!(
        tokio::time::timeout(MINUTE, opened).await.unwrap(),
        "two_states"
    );
    drop(dir);
}

#[tokio::test]
async fn database_whose_state_was_moved_is_refused() {
    let database = shared().database();
    let plane = kept_in(&database).await;
    let mut settings = plane.authority.settings.clone();
    let StoreSettings::Postgres { address, .. } = &settings.store else {
        unreachable!("it is in a database");
    };
    let elsewhere = Dir::new();
    let dir = DataDir::open(&elsewhere.path().join("cp")).unwrap();
    to_files(address, &dir).await.unwrap();
    settings.data_dir = elsewhere.path().join("other");
    assert_eq!(
        code(Authority::open(settings, after(1)).await),
        "database_moved"
    );
    let request = whole(registration("/web", "/node/a"));
    let stopped = plane.authority.register(request, false, after(2)).await;
    assert!(matches!(
        stopped,
        Err(AuthorityError::Unavailable(Unavailable::Stopped(_)))
    ));
}

/// A data directory that was put back from a copy lacks entries of its log. The database has them.
#[tokio::test]
async fn entries_that_the_disk_lost_come_from_the_database() {
    let database = shared().database();
    let plane = kept_in(&database).await;
    let old = Dir::new();
    older::copy(&plane.dir.path().join("cp"), &old.path().join("cp"));
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &web).await;
    let mut settings = plane.authority.settings.clone();
    let size = plane.authority.ledger.log().size();
    let Plane {
        dir: _dir,
        authority,
    } = plane;
    authority.flush(after(1)).await.unwrap();
    drop(authority);
    settings.data_dir = old.path().join("cp");
    let healed = open_again(settings, after(2)).await;
    assert!(healed.ledger.log().size() >= size);
    assert!(!healed.is_contradicted(svid.serial.as_bytes()));
    let found = healed.published(&svid.node, &web).unwrap();
    assert_eq!(found.serial, svid.serial);
}

/// A restart does not forget that the database had lost what was committed.
#[tokio::test]
async fn older_database_is_refused_after_a_restart() {
    let database = shared().database();
    let plane = kept_in(&database).await;
    plane.register(registration("/web", "/node/a")).await;
    database.sql("UPDATE countersign.writers SET batch = 1");
    let request = whole(registration("/api", "/node/a"));
    plane
        .authority
        .register(request, false, after(1))
        .await
        .unwrap_err();
    plane.authority.tick(after(2)).await.unwrap_err();
    let Plane {
        dir: _dir,
        authority,
    } = plane;
    let settings = authority.settings.clone();
    drop(authority);
    let marker = settings.data_dir.join("database-older");
    assert_eq!(opened_code(&settings).await, "database_older");
    std::fs::remove_file(marker).unwrap();
    open_again(settings, after(3)).await;
}

/// The code with which a start is refused once the process before has let go of the directory.
async fn opened_code(settings: &Settings) -> &'static str {
    let opened = async {
        loop {
            match Authority::open(settings.clone(), after(2)).await {
                Err(AuthorityError::Denied(denied)) if denied.code == "data_dir_in_use" => {
                    tokio::task::yield_now().await;
                }
                other => return code(other),
            }
        }
    };
    tokio::time::timeout(MINUTE, opened).await.unwrap()
}

/// A mistyped database is not made the state of a control plane that has a log.
#[tokio::test]
async fn empty_database_for_a_used_data_directory_is_refused() {
    let (database, empty) = (shared().database(), shared().database());
    let plane = kept_in(&database).await;
    let mut settings = plane.authority.settings.clone();
    let Plane {
        dir: _dir,
        authority,
    } = plane;
    drop(authority);
    settings.store = database_at(&empty.url().to_string());
    let refused = opened_code(&settings).await;
    assert_eq!(refused, "state_missing");
    let tables = "SELECT count(*) FROM pg_namespace WHERE nspname = 'countersign'";
    assert_eq!(empty.sql(tables), [["0"]], "nothing was written");
}

/// While the database is away what is known is served, what needs a commit is refused for now, and
/// it is told; nothing of what was refused is there afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn database_that_is_away_takes_nothing_away() {
    let cluster = Cluster::start();
    let database = cluster.database();
    let plane = kept_in(&database).await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &web).await;
    cluster.stop();

    let request = whole(registration("/api", "/node/a"));
    let refused = plane.authority.register(request, false, start()).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(refused, AuthorityError::Unavailable(Unavailable::Retry(_))),
        "{refused}"
    );
    assert!(refused.to_string().contains("database"), "{refused}");
    let told = plane.authority.refused_writes(after(1));
    assert!(
        told.iter()
            .any(|it| it.contains("writes to the database 127.0.0.1:")),
        "{told:?}"
    );
    let found = plane.authority.published(&svid.node, &web).unwrap();
    assert_eq!(found.serial, svid.serial);
    assert_eq!(plane.authority.entitlements(&svid.node).len(), 2);

    cluster.start_again();
    let recovered = async {
        while !plane.authority.refused_writes(after(2)).is_empty() {
            plane.authority.try_writes_again().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(MINUTE, recovered).await.unwrap();
    assert_eq!(
        plane.authority.entitlements(&svid.node).len(),
        2,
        "nothing of it was kept"
    );
    plane.register(registration("/api", "/node/a")).await;
    let plane = plane.crash(after(3)).await;
    assert_eq!(plane.authority.entitlements(&svid.node).len(), 3);
}

/// A copy of the data directory is a second process of one name: the first stops.
#[tokio::test]
async fn older_process_of_a_name_writes_no_more() {
    let database = shared().database();
    let plane = kept_in(&database).await;
    let (first, second) = (&plane.authority, Dir::new());
    older::copy(&plane.dir.path().join("cp"), &second.path().join("cp"));
    let mut settings = first.settings.clone();
    settings.data_dir = second.path().join("cp");
    let other = Authority::open(settings, after(1)).await.unwrap();
    let request = whole(registration("/web", "/node/a"));
    let stopped = first.register(request.clone(), false, after(2)).await;
    assert!(
        matches!(
            stopped,
            Err(AuthorityError::Unavailable(Unavailable::Stopped(_)))
        ),
        "it stops for good"
    );
    other.register(request, false, after(3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_of_a_database_is_restored_to_files() {
    let database = shared().database();
    let plane = kept_in(&database).await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let bytes = Bytes::default();
    plane
        .authority
        .back_up(true, bytes.clone(), after(1))
        .await
        .unwrap();
    let draft = plane.dir.path().join("restored");
    std::fs::create_dir(&draft).unwrap();
    unpack(bytes.0.lock().unwrap().as_slice(), &draft).unwrap();
    let data_dir = DataDir::open(&draft).unwrap();
    let mut settings = plane.authority.settings.clone();
    take_over(&data_dir, settings.entropy.clone(), after(2))
        .await
        .unwrap();
    drop(data_dir);
    settings.data_dir = draft;
    settings.store = StoreSettings::Sqlite;
    let restored = Authority::open(settings, after(3)).await.unwrap();
    let node = id("/node/a");
    assert!(restored.entitlements(&node).iter().any(|it| it.id == web));
}

/// Whoever asks for a certificate while it is not known what became of a commit is told so at once.
#[tokio::test]
async fn enrolment_behind_an_undecided_commit_is_refused_at_once() {
    let database = shared().database();
    let proxy = Proxy::before(shared());
    let url = database.url().at(&[proxy.address()]).in_clear().to_string();
    let plane = Plane::with(|settings| settings.store = database_at(&url)).await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    // The commit is made, its answer is lost, and the database cannot be asked.
    proxy.cut_after_commit_forwarded();
    proxy.refuse();
    let (authority, its) = (plane.authority.clone(), node.clone());
    let enrolment = tokio::spawn(async move {
        let own = EntitlementId::node();
        let key = proven(&fresh_key(), &own);
        authority.enrol(&its, &own, &key, start()).await
    });
    let undecided = async {
        while !plane.authority.store.is_undecided() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, undecided).await.unwrap();
    let key = proven(&fresh_key(), &web);
    let refused = plane.authority.enrol(&node, &web, &key, start());
    let refused = tokio::time::timeout(Duration::from_secs(5), refused).await;
    let refused = refused.unwrap().unwrap_err();
    let is_retryable = matches!(refused, AuthorityError::Unavailable(Unavailable::Retry(_)));
    assert!(is_retryable, "{refused:?}");
    proxy.pass();
    tokio::time::timeout(MINUTE, enrolment)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    plane.enrol(&node, &web).await;
}

/// What a newer version says of where it is, and of its streams, may not be read by this one.
#[tokio::test]
async fn unreadable_row_that_decides_nothing_stops_no_start() {
    let database = shared().database();
    let plane = kept_in(&database).await;
    for kind in ["stream", "heartbeat", "acknowledged"] {
        database.sql(&format!(
            "INSERT INTO countersign.entries VALUES ('{kind}', '?', '[]', 1) RETURNING 1"
        ));
    }
    let plane = plane.restart(after(1)).await;
    plane.register(registration("/web", "/node/a")).await;
}

/// Copies the state of a data directory into a database of its own, and opens it there.
async fn moved(plane: Plane, database: &Database, now: Timestamp) -> Plane {
    let Plane { dir, authority } = plane;
    let mut settings = authority.settings.clone();
    authority.flush(now).await.unwrap();
    drop(authority);
    settings.store = database_at(&database.url().to_string());
    let StoreSettings::Postgres { address, .. } = &settings.store else {
        unreachable!("it is in a database");
    };
    let data_dir = async {
        loop {
            match DataDir::open(&settings.data_dir) {
                Ok(data_dir) => return data_dir,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let data_dir = tokio::time::timeout(MINUTE, data_dir).await.unwrap();
    to_database(&data_dir, address).await.unwrap();
    drop(data_dir);
    let authority = open_again(settings, now).await;
    Plane { dir, authority }
}

fn log_of(plane: &Plane) -> (u32, Vec<Option<u32>>) {
    let rows = plane.authority.replicas();
    let rows = rows.iter().map(|(_, row)| row.log_id()).collect();
    (plane.authority.ledger.log().id(), rows)
}

/// A restore gives a state another log; the row of the control plane is of before it.
#[tokio::test(flavor = "multi_thread")]
async fn restored_state_goes_back_to_a_database_with_its_log() {
    let (first, second) = (shared().database(), shared().database());
    let plane = kept_in(&first).await;
    let before = log_of(&plane).0;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let bytes = Bytes::default();
    let backup = plane.authority.back_up(true, bytes.clone(), after(1));
    backup.await.unwrap();
    let draft = plane.dir.path().join("restored");
    std::fs::create_dir(&draft).unwrap();
    unpack(bytes.0.lock().unwrap().as_slice(), &draft).unwrap();
    let data_dir = DataDir::open(&draft).unwrap();
    let mut settings = plane.authority.settings.clone();
    let taken = take_over(&data_dir, settings.entropy.clone(), after(2)).await;
    let log_id = taken.unwrap().log_id;
    assert_ne!(log_id, before);
    drop(data_dir);
    settings.data_dir = draft;
    settings.store = StoreSettings::Sqlite;
    let authority = Authority::open(settings, after(3)).await.unwrap();
    let Plane { dir, .. } = plane;
    let plane = moved(Plane { dir, authority }, &second, after(4)).await;
    assert_eq!(log_of(&plane), (log_id, vec![Some(log_id)]));
    let svid = plane.enrol(&node, &web).await;
    assert_eq!(svid.serial.log_id(), log_id);
    let plane = plane.restart(after(5)).await;
    assert_eq!(log_of(&plane), (log_id, vec![Some(log_id)]));
}

/// Nothing was restored in between: the log is the same all the way.
#[tokio::test(flavor = "multi_thread")]
async fn state_that_is_copied_both_ways_keeps_its_log() {
    let (first, second) = (shared().database(), shared().database());
    let plane = kept_in(&first).await;
    let log = log_of(&plane);
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    plane.enrol(&node, &web).await;
    let Plane { dir, authority } = plane;
    let mut settings = authority.settings.clone();
    authority.flush(after(1)).await.unwrap();
    drop(authority);
    let StoreSettings::Postgres { address, .. } = settings.store.clone() else {
        unreachable!("it is in a database");
    };
    let data_dir = DataDir::open(&settings.data_dir).unwrap();
    to_files(&address, &data_dir).await.unwrap();
    drop(data_dir);
    settings.store = StoreSettings::Sqlite;
    let authority = open_again(settings, after(2)).await;
    let plane = Plane { dir, authority };
    assert_eq!(plane.authority.ledger.log().id(), log.0);
    plane.enrol(&node, &web).await;
    let plane = moved(plane, &second, after(3)).await;
    assert_eq!(log_of(&plane), log);
    plane.enrol(&node, &web).await;
}

/// Those of certificates that have ended, too, which no start reads any more.
#[tokio::test(flavor = "multi_thread")]
async fn signatures_of_a_copied_log_come_into_the_database() {
    let plane = Plane::with(|settings| settings.store = StoreSettings::Sqlite).await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let node = plane.attest("/node/a").await;
    let ended = plane.enrol(&node, &web).await;
    for _ in 0..2 {
        plane
            .authority
            .save_inventory(after(5_000), false)
            .await
            .unwrap();
    }
    let database = shared().database();
    let plane = moved(plane, &database, after(5_001)).await;
    let entry = ended.serial.coordinate();
    let store = plane.authority.store.clone();
    let brought = async {
        loop {
            let found = store.log_entry(entry.log_id(), entry.index()).await;
            let (.., signature) = found.unwrap().expect("its entry is there");
            if signature.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(MINUTE, brought).await.unwrap();
    // Once all are, a start looks at none of them again.
    let end = plane.authority.ledger.log().size();
    let noted = async {
        loop {
            let snapshot = store.snapshot().await.unwrap();
            let mut entries = snapshot.entries.iter();
            if entries.any(|it| it.key == crate::identity::BROUGHT) {
                return;
            }
        }
    };
    tokio::time::timeout(MINUTE, noted).await.unwrap();
    assert!(end > entry.index());
}
