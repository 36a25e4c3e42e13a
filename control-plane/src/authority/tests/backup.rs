//! A backup that is taken while other things happen.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::mpsc;

use super::super::scratch::SCRATCH;
use super::super::succeed;
use super::log::told;
use super::*;
use crate::backup::unpack;
use crate::store::{DATABASE, DataDir};

/// Where a backup goes.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn backup_beside_a_rotation_opens() {
    // The log is linked where calls may block: while the one place for them is taken, it is not.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(beside_a_rotation());
}

async fn beside_a_rotation() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let own = EntitlementId::node();
    let before = plane.enrol(&node, &own).await;
    let old = plane.authority.tiers().issuing[0].key_id.clone();

    let (proceed, go_on) = mpsc::channel();
    let place = tokio::task::spawn_blocking(move || go_on.recv_timeout(MINUTE).unwrap());
    let (authority, out) = (plane.authority.clone(), Bytes::default());
    let bytes = out.clone();
    let backup = tokio::spawn(async move { authority.back_up(true, out, start()).await });
    // A rotation waits for the copy of the database that has begun, and the log for the place.
    let copy = plane.dir.path().join("cp").join(SCRATCH).join(DATABASE);
    let has_begun = async {
        while !copy.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, has_begun).await.unwrap();
    plane.authority.rotate_issuing(after(1)).await.unwrap();
    let lost = plane.enrol(&node, &own).await;
    proceed.send(()).unwrap();
    place.await.unwrap();
    let size = backup.await.unwrap().unwrap().manifest.log_size;
    assert!(plane.authority.log.size() >= size);

    let draft = plane.dir.path().join("restored");
    std::fs::create_dir(&draft).unwrap();
    unpack(bytes.0.lock().unwrap().as_slice(), &draft).unwrap();
    let data_dir = DataDir::open(&draft).unwrap();
    let restored = succeed(&data_dir, after(2)).await.unwrap();
    assert!(
        restored.log_size > lost.serial.index(),
        "the log has seen it"
    );
    drop(data_dir);
    let mut settings = plane.authority.settings.clone();
    settings.data_dir = draft;
    let authority = Authority::open(settings, after(3)).await.unwrap();
    let plane = Plane {
        dir: plane.dir,
        authority,
    };
    assert_eq!(plane.authority.tiers().issuing[0].key_id, old);
    let published = plane.authority.published(node.id(), &own).unwrap();
    assert_eq!(published.serial, before.serial, "the newest of a known CA");
    // The other control plane has given certificates of that CA out: it was one.
    let voided = told(&plane, restored.log_size);
    assert_eq!(voided.len(), 2, "both steps of the rotation: {voided:?}");
    let svid = plane.enrol(&node, &own).await;
    certificates::verify(&plane, &svid.chain(), after(4));
}
