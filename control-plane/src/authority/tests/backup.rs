//! A backup that is taken while other things happen.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::mpsc;

use tokio::sync::oneshot;

use super::super::succeed;
use super::log::told;
use super::*;
use crate::backup::unpack;
use crate::store::DataDir;

/// Where a backup goes: it says when the first byte comes, and then waits.
struct Slow {
    begun: Option<oneshot::Sender<()>>,
    go_on: mpsc::Receiver<()>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(begun) = self.begun.take() {
            begun.send(()).unwrap();
            self.go_on.recv_timeout(MINUTE).map_err(io::Error::other)?;
        }
        self.bytes.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn backup_beside_a_rotation_opens() {
    let plane = Plane::new().await;
    let node = plane.attest("/node/a").await;
    let own = EntitlementId::node();
    let before = plane.enrol(&node, &own).await;
    let old = plane.authority.tiers().issuing[0].key_id.clone();

    // The database is copied, the log is not yet.
    let (begun, has_begun) = oneshot::channel();
    let (proceed, go_on) = mpsc::channel();
    let bytes = Arc::default();
    let out = Slow {
        begun: Some(begun),
        go_on,
        bytes: Arc::clone(&bytes),
    };
    let authority = plane.authority.clone();
    let backup = tokio::spawn(async move { authority.back_up(true, out, start()).await });
    has_begun.await.unwrap();
    plane.authority.rotate_issuing(after(1)).await.unwrap();
    let lost = plane.enrol(&node, &own).await;
    proceed.send(()).unwrap();
    let size = backup.await.unwrap().unwrap().manifest.log_size;
    assert!(plane.authority.log.size() >= size);

    let draft = plane.dir.path().join("restored");
    std::fs::create_dir(&draft).unwrap();
    unpack(bytes.lock().unwrap().as_slice(), &draft).unwrap();
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
