//! A store, or a log, that fails in the middle of a change.

use std::path::PathBuf;

use countersign_ca::key::{CaKey, KeyError, KeyStore};
use countersign_keys::DiskKeys;
use countersign_keys::Stores;
use countersign_proto::log::entry::What;
use countersign_proto::log::{Refused, Registered};
use countersign_refusal::Denied;
use countersign_store::testing::{Fault, Faults, failing};
use countersign_store::{DataDir, Kind};
use futures_util::future::join_all;

use super::super::StoreKind;
use super::super::ca_hierarchy::KEYS;
use super::log::told;
use super::*;

/// Entries of a segment of the journal.
const SEGMENT: u64 = 4_096;

/// Opens a control plane whose store fails when a test says so.
pub(super) async fn open(
    settings: Settings,
    faults: &Faults,
) -> Result<Arc<Authority>, AuthorityError> {
    let token = settings.hierarchy.pkcs11.clone();
    let stores = |dir: &DataDir| {
        Ok(Stores::new(
            &dir.subdirectory(KEYS).unwrap(),
            token.as_ref(),
        ))
    };
    let faults = faults.clone();
    let store = |store| failing(store, faults);
    Authority::open_with(settings, stores, (None, store), start()).await
}

/// The same in a directory of its own.
pub(super) async fn faulty(change: impl FnOnce(&mut Settings)) -> (Plane, Faults) {
    let dir = Dir::new();
    let mut settings = settings(&dir.path().join("cp"));
    change(&mut settings);
    let faults = Faults::default();
    let authority = open(settings, &faults).await.unwrap();
    (Plane { dir, authority }, faults)
}

pub(super) fn set(faults: &Faults, fault: Fault) {
    *faults.lock().unwrap() = fault;
}

/// In the way of the log, until it is dropped.
pub(super) struct Obstacle(PathBuf);

impl Drop for Obstacle {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

fn obstacle(dir: &Path) -> PathBuf {
    dir.join(format!("cp/log/journal/{SEGMENT}"))
}

/// Fills the first segment of the journal but for so many entries. After those the log takes
/// nothing while the obstacle is there.
pub(super) async fn fill_segment_but(plane: &Plane, entries: u64) -> Obstacle {
    let log = plane.authority.ledger.log();
    let obstacle = obstacle(plane.dir.path());
    std::fs::create_dir(&obstacle).unwrap();
    let fill = |_| log.note(start(), What::Refused(Refused::default()));
    let noted = join_all((log.size()..SEGMENT - entries).map(fill)).await;
    assert!(noted.iter().all(Result::is_ok));
    // What a task may do at a time is used up: whoever looks once at a call wants it whole.
    tokio::task::yield_now().await;
    Obstacle(obstacle)
}

async fn register(plane: &Plane) -> Result<(), AuthorityError> {
    let request = whole(registration("/web", "/node/a"));
    let registered = plane.authority.register(request, false, start()).await;
    registered.map(drop)
}

#[tokio::test]
async fn crash_takes_away_all_that_were_applied_together() {
    for (fault, kept) in [
        (Fault::StopAfter(Kind::Registration), 2),
        (Fault::StopBefore(Kind::Registration), 0),
    ] {
        let (plane, faults) = faulty(|_| ()).await;
        let from = plane.authority.ledger.log().size();
        set(&faults, fault);
        let requests = ["/a", "/b"].map(|path| whole(registration(path, "/node/a")));
        let refused = plane
            .authority
            .apply(requests.to_vec(), false, start())
            .await;
        assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
        let plane = plane.crash(after(1)).await;
        assert_eq!(plane.authority.registration_count(), kept);
        let voided = told(&plane, from + 2);
        let expected = [from, from + 1].map(|at| format!("voided {at}"));
        let expected = Vec::from(expected).into_iter().take(2 - kept);
        assert_eq!(voided, expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn commit_that_may_be_kept_is_not_voided() {
    let kind = Kind::Registration;
    for (fault, is_kept) in [
        (Fault::StopAfter(kind), true),
        (Fault::StopBefore(kind), false),
    ] {
        let (plane, faults) = faulty(|_| ()).await;
        let from = plane.authority.ledger.log().size();
        set(&faults, fault);
        let refused = register(&plane).await;
        assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
        assert_eq!(told(&plane, from), ["registered updated=false"]);
        assert!(plane.authority.ledger.unvoided().is_empty());
        let plane = plane.crash(after(1)).await;
        assert_eq!(plane.authority.registration_count(), usize::from(is_kept));
        let voided = told(&plane, from + 1);
        let expected = (!is_kept).then(|| format!("voided {from}"));
        assert_eq!(voided, Vec::from_iter(expected), "the start finds out");
    }
}

#[tokio::test]
async fn failed_voids_are_retried_before_the_next_change() {
    let (plane, faults) = faulty(|_| ()).await;
    let obstacle = fill_segment_but(&plane, 1).await;
    let from = plane.authority.ledger.log().size();
    set(&faults, Fault::Refuse(Kind::Registration));
    register(&plane).await.unwrap_err();
    set(&faults, Fault::None);
    register(&plane).await.unwrap_err();
    assert_eq!(told(&plane, from), ["registered updated=false"]);
    assert_eq!(plane.authority.ledger.unvoided(), [from].into());
    drop(obstacle);
    register(&plane).await.unwrap();
    let expected = [format!("voided {from}"), "registered updated=false".into()];
    assert_eq!(told(&plane, from + 1), expected);
    let plane = plane.restart(after(1)).await;
    assert_eq!(told(&plane, from + 1), expected, "it is voided once");
}

/// Whether a tick rotates, removes, forgets and logs refusals, although the store fails.
async fn steps_of_a_tick(fault: Fault) -> [bool; 4] {
    let (plane, faults) = faulty(|_| ()).await;
    let mut ending = registration("/web", "/node/a");
    ending.expires_at = Some(after(600));
    plane.register(ending).await;
    let authority = &plane.authority;
    let other = id("/node/b");
    let token = authority.create_token(&other, MINUTE, start());
    token.await.unwrap();
    let denied = Denied {
        code: "not_entitled",
        message: String::new(),
        remedy: "",
    };
    authority.refused("caller", &denied, start());
    let (issuing, from) = (
        authority.tiers().issuing.len(),
        authority.ledger.log().size(),
    );
    set(&faults, fault);
    let outcome = authority.tick(after(2 * 86_400)).await;
    assert_eq!(outcome.is_ok(), fault == Fault::None, "{fault:?}");
    [
        authority.tiers().issuing.len() > issuing,
        authority.registration_count() == 0,
        authority.state.read().tokens.count() == 0,
        told(&plane, from).contains(&"refused caller not_entitled x1".to_owned()),
    ]
}

#[tokio::test]
async fn failing_step_of_a_tick_stops_no_other() {
    let expected = [
        (Fault::None, [true, true, true, true]),
        (Fault::Refuse(Kind::Authority), [false, true, true, true]),
        (Fault::Refuse(Kind::Registration), [true, false, true, true]),
        (Fault::Refuse(Kind::Token), [true, true, false, true]),
    ];
    for (fault, steps) in expected {
        assert_eq!(steps_of_a_tick(fault).await, steps, "{fault:?}");
    }
}

#[tokio::test]
async fn retired_ca_that_cannot_be_dropped_stops_no_other() {
    let (plane, faults) = faulty(|_| ()).await;
    let mut ending = registration("/web", "/node/a");
    ending.expires_at = Some(after(600));
    plane.register(ending).await;
    plane.authority.rotate_issuing(after(1)).await.unwrap();
    set(&faults, Fault::Refuse(Kind::Authority));
    plane.authority.tick(after(601)).await.unwrap_err();
    assert_eq!(plane.authority.tiers().issuing.len(), 2);
    assert_eq!(plane.authority.registration_count(), 0);
    set(&faults, Fault::None);
    plane.authority.tick(after(602)).await.unwrap();
    assert_eq!(plane.authority.tiers().issuing.len(), 1);
}

/// Keys on disk. Whoever loads one has the log find no room for another segment from then on.
#[derive(Debug)]
struct Obstructing {
    inner: DiskKeys,
    obstacle: PathBuf,
}

impl KeyStore for Obstructing {
    fn create(&self) -> Result<Arc<dyn CaKey>, KeyError> {
        self.inner.create()
    }

    fn load(&self, key_id: &str, spki: &[u8]) -> Result<Arc<dyn CaKey>, KeyError> {
        std::fs::create_dir_all(&self.obstacle).unwrap();
        self.inner.load(key_id, spki)
    }

    fn destroy(&self, key_id: &str) -> Result<(), KeyError> {
        self.inner.destroy(key_id)
    }
}

/// Starts again, with a log whose last segment is full and that has no room for another.
async fn start_without_room(plane: Plane, now: Timestamp) -> (Plane, Obstacle) {
    drop(fill_segment_but(&plane, 0).await);
    let Plane { dir, authority } = plane;
    let (settings, obstacle) = (authority.settings.clone(), obstacle(dir.path()));
    drop(authority);
    let keys = |dir: &DataDir| {
        let inner = DiskKeys::new(&dir.subdirectory(KEYS).unwrap());
        let obstacle = obstacle.clone();
        let store = Box::new(Obstructing { inner, obstacle });
        Ok(Stores::of(StoreKind::Disk, store))
    };
    let opened = Authority::open_with(settings, keys, (None, |store| store), now);
    let authority = opened.await.unwrap();
    (Plane { dir, authority }, Obstacle(obstacle))
}

/// Whose log is on the disk alone.
async fn on_disk() -> Plane {
    Plane::with(|settings| settings.store = StoreSettings::Sqlite).await
}

#[tokio::test]
async fn void_that_the_log_refuses_stops_no_start() {
    let plane = on_disk().await;
    let log = plane.authority.ledger.log();
    let lost = What::Registered(Registered {
        updated: true,
        ..Registered::default()
    });
    let index = log.note(start(), lost).await.unwrap();
    // Two days later an issuing CA is due as well, and waits behind the void.
    let (plane, obstacle) = start_without_room(plane, after(2 * 86_400)).await;
    let log = plane.authority.ledger.log().bytes();
    assert_eq!((log.size(), log.published()), (SEGMENT, SEGMENT));
    assert_eq!(plane.authority.ledger.unvoided(), [index].into());
    drop(obstacle);
    plane.authority.tick(after(2 * 86_400)).await.unwrap();
    let told = told(&plane, SEGMENT);
    for done in [&format!("voided {index}"), "rotated issuing active"] {
        assert!(told.iter().any(|it| it == done), "{done}: {told:?}");
    }
}

#[tokio::test]
async fn log_without_room_stops_no_start() {
    for (days, is_due) in [(0, false), (2, true)] {
        let plane = on_disk().await;
        let web = plane.register(registration("/web", "/node/a")).await;
        let node = plane.attest("/node/a").await;
        let svid = plane.enrol(&node, &web).await;
        let now = after(days * 86_400);
        let (plane, obstacle) = start_without_room(plane, now).await;
        let authority = &plane.authority;
        assert!(authority.ledger.unvoided().is_empty(), "no void waits");
        if !is_due {
            let found = authority.published(node.id(), &web).unwrap();
            assert_eq!(found.serial, svid.serial, "what is known is served");
        }
        let refused = authority.server_identity(now).await;
        assert!(matches!(refused, Err(AuthorityError::Unavailable(_))));
        let obstacles = authority.obstacles(now).join("; ");
        assert!(obstacles.contains("issuance log"), "{obstacles}");

        drop(obstacle);
        authority.tick(now).await.unwrap();
        authority.server_identity(now).await.unwrap();
        assert_eq!(authority.obstacles(now), Vec::<String>::new());
        assert_eq!(authority.ledger.log().size() > SEGMENT + 1, is_due);
    }
}
