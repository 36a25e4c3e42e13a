//! A backup that is taken while other things happen.

use std::future::Future;
use std::io::{self, Write};
use std::sync::{Mutex, mpsc};

use countersign_backup::unpack;
use countersign_model::Serial;
use countersign_restore::take_over;
use countersign_store::{DATABASE, DataDir};
use countersign_verify::VerifiedSvid;

use super::super::scratch::SCRATCH;
use super::super::{Act, Eviction, Reason};
use super::log::told;
use super::*;

/// Where a backup goes.
#[derive(Clone, Default)]
pub(crate) struct Bytes(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs it where one call may block at a time: the log is linked where calls may block, so while the
/// one place for them is taken, it is not.
fn with_one_place(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(test);
}

/// Backs up while `changes` are made after the copy of the database has begun and before the log is
/// linked.
async fn backed_up_beside<T>(plane: &Plane, changes: impl Future<Output = T>) -> (Bytes, T) {
    let (proceed, go_on) = mpsc::channel();
    let place = tokio::task::spawn_blocking(move || go_on.recv_timeout(MINUTE).unwrap());
    let (authority, out) = (plane.authority.clone(), Bytes::default());
    let bytes = out.clone();
    let backup = tokio::spawn(async move { authority.back_up(true, out, start()).await });
    // A change waits for the copy of the database that has begun, and the log for the place.
    let copy = plane.dir.path().join("cp").join(SCRATCH).join(DATABASE);
    let has_begun = async {
        while !copy.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, has_begun).await.unwrap();
    let changed = changes.await;
    proceed.send(()).unwrap();
    place.await.unwrap();
    let size = backup.await.unwrap().unwrap().manifest.log_size;
    assert!(plane.authority.ledger.log().size() >= size);
    (bytes, changed)
}

/// Restores it in place of the control plane that it was made of, and says how long its log was.
async fn restored(plane: Plane, bytes: &Bytes) -> (Plane, u64) {
    let draft = plane.dir.path().join("restored");
    std::fs::create_dir(&draft).unwrap();
    unpack(bytes.0.lock().unwrap().as_slice(), &draft).unwrap();
    let data_dir = DataDir::open(&draft).unwrap();
    let mut settings = plane.authority.settings.clone();
    let entropy = settings.entropy.clone();
    let succession = take_over(&data_dir, entropy, after(2)).await.unwrap();
    let size = succession.log_size;
    drop(data_dir);
    settings.data_dir = draft;
    // A restore makes files, also of what a database held.
    settings.store = StoreSettings::Sqlite;
    let authority = Authority::open(settings, after(3)).await.unwrap();
    let dir = plane.dir;
    (Plane { dir, authority }, size)
}

#[test]
fn backup_beside_a_rotation_opens() {
    with_one_place(beside_a_rotation());
}

async fn beside_a_rotation() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let own = EntitlementId::node();
    let before = plane.enrol(&node, &own).await;
    let old = plane.authority.tiers().issuing[0].key_id.clone();
    let changes = async {
        plane.authority.rotate_issuing(after(1)).await.unwrap();
        plane.enrol(&node, &own).await
    };
    let (bytes, lost) = backed_up_beside(&plane, changes).await;

    let (plane, size) = restored(plane, &bytes).await;
    assert!(size > lost.serial.index(), "the log has seen it");
    assert_eq!(plane.authority.tiers().issuing[0].key_id, old);
    let published = plane.authority.published(node.id(), &own).unwrap();
    assert_eq!(published.serial, before.serial, "the newest of a known CA");
    // The other control plane has given certificates of that CA out: it was one.
    let voided = told(&plane, size);
    assert_eq!(voided.len(), 2, "both steps of the rotation: {voided:?}");
    let svid = plane.enrol(&node, &own).await;
    certificates::verify(&plane, &svid.chain(), after(4));
}

#[test]
fn key_of_a_change_that_a_restore_took_back_is_superseded() {
    with_one_place(beside_a_change());
}

async fn beside_a_change() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let web = plane.register(registration("/web", "/node/a")).await;
    let before = plane.enrol(&node, &web).await;
    let key = proven(&fresh_key(), &web);
    let changes = async {
        let mut wide = registration("/web", "/node/a");
        wide.dns = vec!["web.local".to_owned()];
        plane.register(wide).await;
        let svid = plane.authority.enrol(&node, &web, &key, start()).await;
        svid.unwrap()
    };
    let (bytes, lost) = backed_up_beside(&plane, changes).await;
    assert!(has_names(&lost));

    let (plane, size) = restored(plane, &bytes).await;
    assert!(size > lost.serial.index(), "the log has seen it");
    let authority = &plane.authority;
    let present = authority.entitlement(node.id(), &web).unwrap();
    assert_eq!(present.min_key_epoch, 0, "the change was taken back");
    let published = authority.published(node.id(), &web).unwrap();
    assert_eq!(published.serial, before.serial, "the newest that it allows");
    let again = authority.enrol(&node, &web, &key, after(4)).await;
    assert_eq!(code(again), "key_superseded");
    let next = plane.enrol(&node, &web).await;
    assert!(!has_names(&next), "a fresh key gets what is allowed now");
}

#[test]
fn eviction_survives_a_restore() {
    with_one_place(after_an_eviction());
}

async fn after_an_eviction() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let own = EntitlementId::node();
    let svid = plane.enrol(&node, &own).await;
    let shown = certificates::verify(&plane, &svid.chain(), after(1));
    let act = Act {
        reason: Reason::new("key copied").unwrap(),
        operator: "operator uid 0".to_owned(),
    };
    let eviction = Eviction {
        node: node.id().clone(),
        act,
        is_ban: true,
    };
    plane.authority.evict(eviction, after(1)).await.unwrap();
    let (bytes, ()) = backed_up_beside(&plane, async {}).await;

    let (plane, size) = restored(plane, &bytes).await;
    assert_eq!(
        plane.authority.recognise(node.id(), &shown.spki_sha256),
        None
    );
    assert!(plane.authority.published(node.id(), &own).is_none());
    let banned = plane
        .authority
        .create_token(node.id(), MINUTE, after(4))
        .await;
    assert_eq!(code(banned), "node_banned");
    let stolen = lost_certificate(&plane, &shown, size);
    let adopted = plane.authority.recognise_by_predecessor(&stolen);
    assert_eq!(adopted, None, "it knows of an eviction");
}

/// One that the lost control plane made after the backup, as this one was made.
fn lost_certificate(plane: &Plane, like: &VerifiedSvid, size: u64) -> VerifiedSvid {
    let lost_log = plane.authority.predecessor.unwrap().0.log_id;
    let serial = Serial::new(lost_log, size + 7, [7; 8]).unwrap();
    VerifiedSvid {
        serial: serial.as_bytes().to_vec(),
        ..like.clone()
    }
}

#[test]
fn attestation_outlasts_certificates_from_before_it() {
    with_one_place(beside_an_attestation());
}

/// A copy was put back, and on it the node attested anew before the copy was backed up and restored.
async fn beside_an_attestation() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let svid = plane.enrol(&node, &EntitlementId::node()).await;
    let shown = certificates::verify(&plane, &svid.chain(), after(1));
    let (bytes, ()) = backed_up_beside(&plane, async {}).await;
    let (plane, size) = restored(plane, &bytes).await;
    let lost = lost_certificate(&plane, &shown, size);
    let earlier = VerifiedSvid {
        not_before: lost.not_before - Duration::from_secs(1),
        ..lost.clone()
    };
    assert_eq!(plane.authority.recognise_by_predecessor(&earlier), None);
    let adopted = plane.authority.recognise_by_predecessor(&lost);
    assert!(adopted.is_some(), "a fleet comes back by itself");
}
